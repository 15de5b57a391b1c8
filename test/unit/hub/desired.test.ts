import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createDesiredCopy } from '../../../agent/hub/desired.ts'
import type { Twin, TwinDocument } from '../../../agent/hub/twin-document.ts'
import { createFakeClock } from '../../kit/clock.ts'

function setUp(first: TwinDocument) {
  const clock = createFakeClock()
  const over = new AbortController()
  const seen: TwinDocument[] = []
  const troubles: string[] = []
  const hub = { desired: first, reads: 0, failing: false, answering: Promise.resolve() }
  const read = async (): Promise<Twin> => {
    hub.reads += 1
    const { desired } = hub
    await hub.answering
    if (hub.failing) throw new Failure('TWIN_REFUSED', 'throttled')
    return { desired, reported: { $version: 1 } }
  }
  const copy = createDesiredCopy(
    {
      read,
      clock,
      random: () => 0,
      onDesired: (document) => seen.push(document),
      onTrouble: ({ code }) => troubles.push(code),
    },
    over.signal,
  )
  return { clock, over, seen, hub, copy, troubles }
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

test('after a gap the twin is read until the hub answers, and each failure is told', async () => {
  const { copy, seen, hub, clock, troubles } = setUp({ $version: 4 })
  await copy.load()
  hub.failing = true
  copy.take({ $version: 6 })
  await clock.advance(1_000)
  assert.deepEqual([seen, troubles], [[], ['TWIN_REFUSED', 'TWIN_REFUSED']])
  hub.failing = false
  hub.desired = { $version: 6, b: 2 }
  await clock.advance(120_000)
  assert.deepEqual(seen, [{ $version: 6, b: 2 }])
  const { reads } = hub
  await clock.advance(600_000)
  assert.equal(hub.reads, reads)
})

test('a push with an impossible version costs one reading, and those after it are followed again', async () => {
  const { copy, seen, hub, clock } = setUp({ $version: 4 })
  await copy.load()
  copy.take({ $version: Number.MAX_SAFE_INTEGER })
  hub.desired = { $version: 7, read: true }
  await clock.advance(600_000)
  assert.deepEqual(seen, [{ $version: 7, read: true }])
  assert.equal(hub.reads, 2)
  copy.take({ $version: 8, pushed: true })
  assert.deepEqual(seen.at(-1), { $version: 8, read: true, pushed: true })
})

test('a push that comes while the twin is read again is not undone by the older answer', async () => {
  const { copy, seen, hub, clock } = setUp({ $version: 4 })
  await copy.load()
  const answer = Promise.withResolvers<void>()
  hub.answering = answer.promise
  copy.take(undefined)
  await clock.advance(500)
  copy.take({ $version: 5, late: true })
  hub.desired = { $version: 5, late: true }
  answer.resolve()
  await clock.advance(60_000)
  assert.deepEqual(seen, [{ $version: 5, late: true }])
  assert.equal(hub.reads, 3)
})

test('a listener that throws is told about and does not end the process', async () => {
  const clock = createFakeClock()
  const troubles: string[] = []
  const copy = createDesiredCopy(
    {
      read: async () => ({ desired: { $version: 5 }, reported: { $version: 1 } }),
      clock,
      random: () => 0,
      onDesired: () => assert.fail('a defect of the listener'),
      onTrouble: ({ message }) => troubles.push(message),
    },
    new AbortController().signal,
  )
  copy.take(undefined)
  await clock.advance(1_000)
  assert.deepEqual(troubles, ['a defect of the listener'])
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
