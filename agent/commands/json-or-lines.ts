import { parseJson } from '../system/json.ts'

/** What is read, and what it is. */
export interface Shape {
  readonly contentType: 'application/json' | 'application/x-ndjson'
  /** All of it, from the beginning. */
  readonly body: AsyncIterable<Uint8Array>
}

/** No line of telemetry is longer. */
const MAX_LOOKED_AT_BYTES = 512 * 1024

/**
 * Whether a stream is one JSON text or a line for each: it is lines when its first line is a text of its own, other than
 * an array. Reads no further than that line before it answers.
 */
export async function shapeOf(input: AsyncIterable<Uint8Array>): Promise<Shape> {
  const iterator = input[Symbol.asyncIterator]()
  const seen: Uint8Array[] = []
  let text = ''
  let line: string | undefined
  while (line === undefined && text.length <= MAX_LOOKED_AT_BYTES) {
    const next = await iterator.next()
    if (next.done === true) break
    seen.push(next.value)
    text = Buffer.concat(seen).toString('utf8')
    line = /[^\s].*(?=\n)/.exec(text)?.[0]
  }
  const isLines = line !== undefined && !line.startsWith('[') && parseJson(line) !== undefined
  return { contentType: isLines ? 'application/x-ndjson' : 'application/json', body: from(seen, iterator) }
}

async function* from(seen: readonly Uint8Array[], iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* seen
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
}
