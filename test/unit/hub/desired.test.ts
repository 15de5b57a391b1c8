import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDesiredCopy } from '../../../agent/hub/desired.ts'
import type { Twin, TwinDocument } from '../../../agent/hub/twin-document.ts'
import { createFakeClock } from '../../kit/clock.ts'

function setUp(first: TwinDocument) {
  const clock = createFakeClock()
  const over = new AbortController()
  const seen: TwinDocument[] = []
  const hub = { desired: first, reads: 0, failing: false }
  const read = async (): Promise<Twin> => {
    hub.reads += 1
    if (hub.failing) throw new Error('throttled')
    return { desired: hub.desired, reported: { $version: 1 } }
  }
  const copy = createDesiredCopy(
    { read, clock, random: () => 0, onDesired: (document) => seen.push(document) },
    over.signal,
  )
  return { clock, over, seen, hub, copy }
}

test('a push that the read already contains changes nothing', async () => {
  const { copy, seen } = setUp({ $version: 4, a: 1 })
  await copy.load()
  copy.take({ $version: 4, a: 0 })
  assert.deepEqual(seen, [])
})

test('a push before the answer to the read is not lost', async () => {
  const { copy, seen, hub, clock } = setUp({ $version: 4 })
  const loading = copy.load()
  copy.take({ $version: 5, late: true })
  await loading
  hub.desired = { $version: 5, late: true }
  await clock.advance(60_000)
  assert.deepEqual(seen, [{ $version: 5, late: true }])
})

test('after a gap the twin is read until the hub shows the newest version', async () => {
  const { copy, seen, hub, clock } = setUp({ $version: 4 })
  await copy.load()
  hub.failing = true
  copy.take({ $version: 6 })
  await clock.advance(10_000)
  assert.deepEqual(seen, [])
  hub.failing = false
  hub.desired = { $version: 5 }
  await clock.advance(120_000)
  assert.deepEqual(seen, [])
  hub.desired = { $version: 6, b: 2 }
  await clock.advance(120_000)
  assert.deepEqual(seen, [{ $version: 6, b: 2 }])
})

test('many lost pushes make one reading at a time', async () => {
  const { copy, hub, clock } = setUp({ $version: 1 })
  await copy.load()
  for (let version = 10; version < 30; version += 1) copy.take({ $version: version })
  hub.desired = { $version: 29 }
  await clock.advance(500)
  assert.equal(hub.reads, 2)
})

test('reading again ends with the connection', async () => {
  const { copy, hub, clock, over } = setUp({ $version: 1 })
  await copy.load()
  hub.failing = true
  copy.take(undefined)
  await clock.advance(5_000)
  over.abort()
  const { reads } = hub
  await clock.advance(600_000)
  assert.equal(hub.reads, reads)
  assert.deepEqual(clock.pending(), [])
})
