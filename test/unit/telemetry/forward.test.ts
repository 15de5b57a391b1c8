import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Failure } from '../../../agent/failure.ts'
import { createBuffer } from '../../../agent/telemetry/buffer.ts'
import type { Spool } from '../../../agent/telemetry/buffer.ts'
import { forward } from '../../../agent/telemetry/forward.ts'
import type { Sample } from '../../../agent/telemetry/sample.ts'

interface Hub {
  readonly send: (sample: Sample) => Promise<void>
  /** IDs in the order in which they were sent. */
  readonly sent: readonly string[]
  /** How many are on their way now. */
  inFlight(): number
  acknowledge(id: string): void
  fail(id: string, error: Error): void
  /** Resolves once this many have been sent. */
  seen(count: number): Promise<void>
}

/** A hub that answers only when the test says so. */
function createHub(): Hub {
  const sent: string[] = []
  const open = new Map<string, { resolve: () => void; reject: (error: Error) => void }>()
  let watchers: { count: number; tell: () => void }[] = []
  const take = (id: string) => {
    const answer = open.get(id)
    assert.ok(answer !== undefined, `${id} is not on its way`)
    open.delete(id)
    return answer
  }
  return {
    sent,
    inFlight: () => open.size,
    send: (sample) =>
      new Promise((resolve, reject) => {
        sent.push(sample.id)
        open.set(sample.id, { resolve, reject })
        for (const watcher of watchers) if (sent.length >= watcher.count) watcher.tell()
        watchers = watchers.filter((watcher) => sent.length < watcher.count)
      }),
    acknowledge: (id) => take(id).resolve(),
    fail: (id, error) => take(id).reject(error),
    seen: (count) =>
      new Promise((tell) => {
        if (sent.length >= count) tell()
        else watchers.push({ count, tell })
      }),
  }
}

async function bufferOf(...ids: string[]): Promise<Spool> {
  const spool = createBuffer({ maxSamples: 1000, maxBytes: 1_000_000 })
  for (const id of ids) await spool.append({ id, createdAtMs: 0, body: '{}' })
  return spool
}

/** Starts a session; `ended` settles with whatever ended it. */
function startForwarding(spool: Spool, hub: Hub, window?: number) {
  const stop = new AbortController()
  const acknowledged: string[] = []
  const refused: string[] = []
  let watcher: (() => void) | undefined
  const ended = forward(
    {
      spool,
      send: hub.send,
      ...(window !== undefined && { window }),
      onAcknowledged(sample) {
        acknowledged.push(sample.id)
        watcher?.()
      },
      onRefused: (sample) => refused.push(sample.id),
    },
    stop.signal,
  ).catch((error: unknown) => error)
  const heard = (count: number) =>
    new Promise<void>((resolve) => {
      watcher = () => (acknowledged.length >= count ? resolve() : undefined)
      watcher()
    })
  return { ended, stop, acknowledged, refused, heard }
}

test('samples are sent oldest first and removed when they are acknowledged', async () => {
  await using spool = await bufferOf('a', 'b')
  const hub = createHub()
  const session = startForwarding(spool, hub)
  await hub.seen(2)
  assert.deepEqual(hub.sent, ['a', 'b'])
  assert.equal(spool.level().depth, 2)
  hub.acknowledge('a')
  await session.heard(1)
  assert.equal(spool.level().depth, 1)
  hub.acknowledge('b')
  await session.heard(2)
  assert.equal(spool.level().depth, 0)
  session.stop.abort()
  await session.ended
})

test('no more than the window are on their way at a time', async () => {
  await using spool = await bufferOf('a', 'b', 'c', 'd', 'e')
  const hub = createHub()
  const session = startForwarding(spool, hub, 2)
  for (const [at, id] of ['a', 'b', 'c', 'd', 'e'].entries()) {
    await hub.seen(at + 1)
    // Everything that could be sent by now has been.
    await setImmediate()
    assert.equal(hub.inFlight(), Math.min(2, 5 - at))
    hub.acknowledge(id)
  }
  await session.heard(5)
  assert.deepEqual(session.acknowledged, ['a', 'b', 'c', 'd', 'e'])
  session.stop.abort()
  await session.ended
})

test('an acknowledgement out of order removes nothing before its turn', async () => {
  await using spool = await bufferOf('a', 'b')
  const hub = createHub()
  const session = startForwarding(spool, hub)
  await hub.seen(2)
  hub.acknowledge('b')
  await spool.append({ id: 'c', createdAtMs: 0, body: '{}' })
  await hub.seen(3)
  assert.equal(spool.level().depth, 3)
  hub.acknowledge('a')
  await session.heard(2)
  assert.equal(spool.level().depth, 1)
  session.stop.abort()
  await session.ended
})

test('after a failure the next session sends the same samples again, in their order and with their IDs', async () => {
  await using spool = await bufferOf('a', 'b', 'c')
  const first = createHub()
  const session = startForwarding(spool, first)
  await first.seen(3)
  first.acknowledge('a')
  await session.heard(1)
  const lost = new Failure('HUB_CLOSED', 'cut')
  first.fail('c', lost)
  assert.equal(await session.ended, lost, 'the failure of a younger one ends it while an older one is under way')
  assert.equal(spool.level().depth, 2)

  const second = createHub()
  const again = startForwarding(spool, second)
  await second.seen(2)
  assert.deepEqual(second.sent, ['b', 'c'])
  again.stop.abort()
  await again.ended
})

test('a sample that the hub refuses is set aside, counted, and holds up no other', async () => {
  await using spool = await bufferOf('a', 'huge', 'b')
  const hub = createHub()
  const session = startForwarding(spool, hub)
  await hub.seen(3)
  hub.fail('huge', new Failure('MESSAGE_REFUSED', 'too large'))
  hub.acknowledge('a')
  hub.acknowledge('b')
  await session.heard(2)
  assert.deepEqual(session.refused, ['huge'])
  assert.deepEqual(spool.level(), { depth: 0, bytes: 0, dropped: { full: 0, tooLarge: 0, refused: 1 } })
  session.stop.abort()
  await session.ended
})

test('the end of the session stops the forwarding and leaves what was under way', async () => {
  await using spool = await bufferOf('a')
  const hub = createHub()
  const session = startForwarding(spool, hub)
  await hub.seen(1)
  const reason = new Error('the session ended')
  session.stop.abort(reason)
  assert.equal(await session.ended, reason)
  assert.equal(spool.level().depth, 1)
  hub.acknowledge('a')
  await spool.append({ id: 'b', createdAtMs: 0, body: '{}' })
  assert.deepEqual(hub.sent, ['a'], 'nothing is sent afterwards')
})

test('what the spool cannot remove ends the forwarding', async () => {
  await using spool = await bufferOf('a')
  const full = new Failure('DISK_FULL', 'no room')
  const hub = createHub()
  const session = startForwarding({ ...spool, acknowledge: () => Promise.reject(full) }, hub)
  await hub.seen(1)
  hub.acknowledge('a')
  assert.equal(await session.ended, full)
})
