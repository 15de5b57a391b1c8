import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../../agent/failure.ts'
import { createAdmission } from '../../../../agent/telemetry/intake/admission.ts'
import { createFakeClock } from '../../../kit/clock.ts'

function isRefused(error: unknown): boolean {
  return error instanceof Failure && error.code === 'TELEMETRY_QUOTA'
}

test('a limit that is changed counts from the next arrival on', async () => {
  const options = { samplesPerSecond: 1, clock: createFakeClock() }
  const admit = createAdmission(options)
  const arrive = () => {
    const arrival = { count: 100, uid: () => Promise.resolve(1000), isPatient: false }
    return admit(arrival, new AbortController().signal)
  }
  await arrive()
  await assert.rejects(arrive(), isRefused)
  options.samplesPerSecond = 100
  await arrive()
})
