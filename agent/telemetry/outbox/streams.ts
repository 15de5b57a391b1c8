import type { Priority } from '../sample.ts'
import type { OpenBatch } from './batch.ts'
import type { StreamView } from './port.ts'
import type { StreamRow } from './schema.ts'
import type { Undo } from './undo.ts'

/** Where a stream begins and ends. It is empty when its head lies behind its tail. */
export interface Stream extends StreamRow {
  /** Number of the oldest sample that is still in the file: what lies before the head is to be deleted. */
  stored: number
  head: number
  tail: number
  /** Bytes of all samples before the head, and of all up to the tail. */
  headSum: number
  endSum: number
  headAtMs: number
  tailAtMs: number
  open: OpenBatch | undefined
}

/** The streams of one file. What is changed within a transaction is taken back with it. */
export interface Streams {
  all(): Iterable<Stream>
  count(): number
  /** Bytes of all. */
  bytes(): number
  at(key: number): Stream | undefined
  named(name: string, priority: Priority): Stream | undefined
  /** Takes one over as it is in the file. */
  load(stream: Stream): void
  /** Makes an empty one, with a key that none has, and numbers that none with this key had. */
  make(name: string, priority: Priority): Stream
  forget(stream: Stream): void
  change(stream: Stream, changes: Partial<Stream>): void
}

export function createStreams(undo: Undo): Streams {
  const byKey = new Map<number, Stream>()
  const byName = new Map<string, Stream>()
  /** Keys of streams that were forgotten, and where their numbers go on. */
  const free = new Map<number, number>()
  let bytes = 0

  const put = (stream: Stream) => {
    byKey.set(stream.key, stream)
    byName.set(nameOf(stream.name, stream.priority), stream)
    bytes += stream.endSum - stream.headSum
  }
  const remove = (stream: Stream) => {
    byKey.delete(stream.key)
    byName.delete(nameOf(stream.name, stream.priority))
    bytes -= stream.endSum - stream.headSum
  }
  const assign = (stream: Stream, changes: Partial<Stream>) => {
    bytes -= stream.endSum - stream.headSum
    Object.assign(stream, changes)
    bytes += stream.endSum - stream.headSum
  }
  const freeKey = () => {
    for (const [key, number] of free) return { key, number }
    let key = byKey.size + 1
    while (byKey.has(key)) key -= 1
    return { key, number: 1 }
  }

  return {
    all: () => byKey.values(),
    count: () => byKey.size,
    bytes: () => bytes,
    at: (key) => byKey.get(key),
    named: (name, priority) => byName.get(nameOf(name, priority)),
    load: put,
    make(name, priority) {
      const { key, number } = freeKey()
      const ends = { stored: number, head: number, tail: number - 1, headSum: 0, endSum: 0 }
      const stream: Stream = { key, name, priority, ...ends, headAtMs: 0, tailAtMs: 0, open: undefined }
      free.delete(key)
      put(stream)
      undo.note(() => {
        remove(stream)
        free.set(key, number)
      })
      return stream
    },
    forget(stream) {
      remove(stream)
      free.set(stream.key, stream.tail + 1)
      undo.note(() => {
        free.delete(stream.key)
        put(stream)
      })
    },
    change(stream, changes) {
      const before = { ...stream }
      assign(stream, changes)
      undo.note(() => assign(stream, before))
    },
  }
}

export function isEmpty(stream: Stream): boolean {
  return stream.head > stream.tail
}

/** The newest number that may be sent. */
export function closedOf(stream: Stream): number {
  return stream.open === undefined ? stream.tail : stream.open.first - 1
}

export function viewOf(stream: Stream): StreamView {
  const { key, name, priority, head, tail, headAtMs, tailAtMs } = stream
  return { key, name, priority, head, tail, closed: closedOf(stream), headAtMs, tailAtMs }
}

function nameOf(name: string, priority: Priority): string {
  return `${priority} ${name}`
}
