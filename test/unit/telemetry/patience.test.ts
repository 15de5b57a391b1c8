import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPatientReader } from '../../../agent/telemetry/metrics/patience.ts'
import { createFakeClock } from '../../kit/clock.ts'

test('a reading that hangs is done without, and none is begun until it has ended', async () => {
  const clock = createFakeClock()
  const begun: ((value: string) => void)[] = []
  const hang = () => new Promise<string>((resolve) => begun.push(resolve))
  const read = createPatientReader(hang, { clock, withinMs: 5000, otherwise: 'none' })
  const first = read()
  await clock.advance(5000)
  assert.equal(await first, 'none')
  assert.equal(await read(), 'none')
  assert.equal(begun.length, 1)

  begun[0]?.('too late')
  await clock.advance(0)
  const next = read()
  begun[1]?.('in time')
  assert.equal(await next, 'in time')
  assert.deepEqual(clock.pending(), [])
})
