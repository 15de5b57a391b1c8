import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeSample } from '../../../../agent/telemetry/intake/sample-of.ts'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import { PLAIN_LABEL } from '../../../../agent/telemetry/sample.ts'
import { idsOf, outboxFolder, outboxOptions, parcelsOf, sample } from '../../../kit/outbox.ts'

const DAY_MS = 86_400_000

/** As the door takes it: with a time of its own while the clock of the device cannot be believed. */
const ownTime = (createdAtMs: number, nowMs: number) =>
  makeSample({ createdAtMs, stream: 'gps', priority: 'telemetry', label: PLAIN_LABEL }, '{}', {
    newId: () => 'own',
    stamp: { createdAtMs: nowMs, unsure: { bootId: 'this', uptimeMs: 5000 } },
  })

test('a sample with a time of its own does not expire because the clock was late when it came in', async () => {
  await using folder = await outboxFolder()
  let trusted = false
  const { clock, options } = outboxOptions({ maxAgeMs: 30 * DAY_MS }, { trusted: () => trusted })
  const createdAtMs = clock.now() + 300 * DAY_MS
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append([ownTime(createdAtMs, clock.now())], 'written')
    clock.stepWall(300 * DAY_MS)
    trusted = true
    await clock.advance(60_000)
    await outbox.append([sample('other', { stream: 'other' })], 'written')
    assert.deepEqual(idsOf(outbox, 'gps'), [['own']])
    assert.equal(outbox.level().dropped.expired, 0)
  }
  await using reopened = await openOutbox(folder.path, options)
  const [kept] = parcelsOf(reopened, 'gps')[0]?.samples ?? []
  assert.deepEqual([kept?.createdAtMs, kept?.unsure], [createdAtMs, undefined], 'its own time counts')
})
