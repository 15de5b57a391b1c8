import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBuffer } from '../../agent/telemetry/buffer.ts'
import type { BufferLimits, DropCause, Spool } from '../../agent/telemetry/buffer.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'

type Dropped = readonly [id: string, cause: DropCause]

/** Every adapter of the port, by name. */
const adapters: Readonly<Record<string, (limits: BufferLimits, onDropped: (one: Dropped) => void) => Spool>> = {
  memory: (limits, onDropped) => createBuffer(limits, (sample, cause) => onDropped([sample.id, cause])),
}

const roomy: BufferLimits = { maxSamples: 100, maxBytes: 10_000 }

function sample(id: string, body = '{}'): Sample {
  return { id, createdAtMs: 0, body }
}

/** What a reader that starts now is given without waiting. */
async function contentOf(spool: Spool): Promise<readonly string[]> {
  const ids: string[] = []
  if (spool.level().depth === 0) return ids
  for await (const { id } of spool.read(new AbortController().signal)) {
    ids.push(id)
    if (ids.length === spool.level().depth) break
  }
  return ids
}

for (const [name, open] of Object.entries(adapters)) {
  const spoolOf = async (ids: readonly string[], limits = roomy, dropped: Dropped[] = []) => {
    const spool = open(limits, (one) => dropped.push(one))
    for (const id of ids) await spool.append(sample(id))
    return spool
  }

  test(`${name}: samples come out in the order in which they went in`, async () => {
    await using spool = await spoolOf(['a', 'b', 'c'])
    assert.deepEqual(await contentOf(spool), ['a', 'b', 'c'])
    assert.deepEqual(await contentOf(spool), ['a', 'b', 'c'], 'reading removes nothing')
  })

  test(`${name}: what was acknowledged is gone, with all before it, and the rest stays in its order`, async () => {
    await using spool = await spoolOf(['a', 'b', 'c', 'd'])
    await spool.acknowledge('b')
    assert.deepEqual(await contentOf(spool), ['c', 'd'])
    await spool.acknowledge('a')
    assert.deepEqual(await contentOf(spool), ['c', 'd'], 'an ID that is gone removes nothing')
    assert.equal(spool.level().bytes, 4)
  })

  test(`${name}: a reader waits for the next sample and is given it`, async () => {
    await using spool = await spoolOf([])
    const reader = spool.read(new AbortController().signal)[Symbol.asyncIterator]()
    const next = reader.next()
    await spool.append(sample('late'))
    assert.equal((await next).value?.id, 'late')
  })

  test(`${name}: a waiting reader ends with the reason of the abort`, async () => {
    await using spool = await spoolOf([])
    const stop = new AbortController()
    const next = spool.read(stop.signal)[Symbol.asyncIterator]().next()
    const reason = new Error('the session ended')
    stop.abort(reason)
    await assert.rejects(next, (error) => error === reason)
  })

  test(`${name}: the oldest make room for the newest and are counted`, async () => {
    const dropped: Dropped[] = []
    await using spool = await spoolOf(['a', 'b', 'c', 'd', 'e'], { maxSamples: 3, maxBytes: 1000 }, dropped)
    assert.deepEqual(await contentOf(spool), ['c', 'd', 'e'])
    assert.deepEqual(dropped, [
      ['a', 'full'],
      ['b', 'full'],
    ])
    assert.deepEqual(spool.level(), { depth: 3, bytes: 6, dropped: { full: 2, tooLarge: 0, refused: 0 } })
  })

  test(`${name}: bytes are bounded as samples are, and counted in UTF-8`, async () => {
    await using spool = open({ maxSamples: 100, maxBytes: 10 }, () => undefined)
    await spool.append(sample('a', '€€'))
    await spool.append(sample('b', '1234'))
    assert.equal(spool.level().bytes, 10)
    await spool.append(sample('c', '5'))
    assert.deepEqual(await contentOf(spool), ['b', 'c'])
    assert.equal(spool.level().bytes, 5)
  })

  test(`${name}: a sample larger than all of the room is given up and disturbs no other`, async () => {
    const dropped: Dropped[] = []
    await using spool = await spoolOf(['a'], { maxSamples: 3, maxBytes: 10 }, dropped)
    await spool.append(sample('huge', 'x'.repeat(11)))
    assert.deepEqual(await contentOf(spool), ['a'])
    assert.deepEqual(dropped, [['huge', 'tooLarge']])
  })

  test(`${name}: a sample that is on its way is not given up while another can make room`, async () => {
    const dropped: Dropped[] = []
    await using spool = await spoolOf(['a', 'b', 'c'], { maxSamples: 3, maxBytes: 1000 }, dropped)
    const reader = spool.read(new AbortController().signal)[Symbol.asyncIterator]()
    assert.equal((await reader.next()).value?.id, 'a')
    await spool.append(sample('d'))
    assert.deepEqual(dropped, [['b', 'full']])
    assert.equal((await reader.next()).value?.id, 'c', 'the reader goes on behind the gap')
    await spool.acknowledge('a')
    await reader.return?.()
    assert.deepEqual(await contentOf(spool), ['c', 'd'])
  })

  test(`${name}: when all are on their way the oldest makes room, so that the newest is kept`, async () => {
    const dropped: Dropped[] = []
    await using spool = await spoolOf(['a', 'b'], { maxSamples: 2, maxBytes: 1000 }, dropped)
    const reader = spool.read(new AbortController().signal)[Symbol.asyncIterator]()
    await reader.next()
    await reader.next()
    await spool.append(sample('c'))
    assert.deepEqual(dropped, [['a', 'full']])
    await reader.return?.()
    assert.deepEqual(await contentOf(spool), ['b', 'c'])
  })

  test(`${name}: one sample can be given up out of the middle, once`, async () => {
    await using spool = await spoolOf(['a', 'b', 'c'])
    await spool.drop('b', 'refused')
    await spool.drop('b', 'refused')
    assert.deepEqual(await contentOf(spool), ['a', 'c'])
    assert.deepEqual(spool.level(), { depth: 2, bytes: 4, dropped: { full: 0, tooLarge: 0, refused: 1 } })
  })

  test(`${name}: a hub that is away for 100,000 samples costs no more than the limits`, async () => {
    await using spool = await spoolOf([], { maxSamples: 50, maxBytes: 10_000 })
    for (let count = 0; count < 100_000; count += 1) await spool.append(sample(String(count)))
    assert.deepEqual(spool.level(), { depth: 50, bytes: 100, dropped: { full: 99_950, tooLarge: 0, refused: 0 } })
    assert.equal((await contentOf(spool))[0], '99950')
  })
}
