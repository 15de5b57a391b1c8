import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboxLimits } from '../../../../agent/telemetry/outbox/port.ts'
import { kinds, sample } from '../../../kit/outbox.ts'

/** Limits that a test changes while the outbox is open. */
function changing(first: OutboxLimits) {
  let now = first
  const limits: OutboxLimits = {
    get maxBytes() {
      return now.maxBytes
    },
    get maxAgeMs() {
      return now.maxAgeMs
    },
    get batchSamples() {
      return now.batchSamples
    },
    get batchMs() {
      return now.batchMs
    },
  }
  const change = (more: Partial<OutboxLimits>) => {
    now = { ...now, ...more }
  }
  return { limits, change }
}

const ROOMY: OutboxLimits = { maxBytes: 1_000_000, maxAgeMs: 30 * 86_400_000, batchSamples: 1, batchMs: 5_000 }

for (const [kind, open] of Object.entries(kinds)) {
  test(`an outbox ${kind === 'disk' ? 'on disk' : 'in memory'} follows limits that change`, async () => {
    const { limits, change } = changing(ROOMY)
    await using opened = await open({}, { limits })
    const { outbox } = opened
    for (const id of ['1', '2', '3']) await opened.keep(sample(id))
    assert.equal(outbox.level().maxBytes, 1_000_000)
    const { bytes } = outbox.level()

    change({ maxBytes: bytes, batchSamples: 2 })
    assert.equal(outbox.level().maxBytes, bytes)
    await opened.keep(sample('4'))
    assert.equal(outbox.level().dropped.full, 1)
    const [stream] = outbox.streams()
    assert.equal(stream?.closed, 3, 'the fourth waits for company')
    await opened.keep(sample('5'))
    assert.equal(outbox.next(stream?.key ?? -1, 3)?.samples.length, 2)

    change({ batchMs: 1 })
    await opened.keep(sample('6'))
    await opened.clock.advance(1)
    outbox.closeBatches()
    assert.equal(outbox.streams()[0]?.closed, 6)
  })
}
