import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { deriveDeviceKey } from '../cloud/sas.ts'
import { createFakeClock } from '../kit/clock.ts'
import { enrollByKey, newKey, sas } from './sas-device.ts'
import { failureOf, startBench } from './session-device.ts'
import type { Bench } from './session-device.ts'

const HOUR = 3_600_000

let bench: Bench

before(async () => {
  bench = await startBench()
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

for (const slot of ['primaryKey', 'secondaryKey'] as const) {
  test(`a device registers with the ${slot} of its individual enrollment`, async () => {
    const keys = enrollByKey(bench, 'individual', `own-${slot.toLowerCase()}`)
    const assignment = await bench.deviceWith(`own-${slot.toLowerCase()}`, sas(keys[slot])).register()
    assert.equal(assignment.assignedHub, bench.cloud.hubAddress())
    const { type, symmetricKey } = bench.cloud.hub.identity(assignment.deviceId)?.authentication ?? {}
    assert.deepEqual({ type, symmetricKey }, { type: 'sas', symmetricKey: keys })
  })

  test(`a device registers with the key derived from the ${slot} of its group`, async () => {
    const keys = enrollByKey(bench, 'group', `group-${slot.toLowerCase()}`)
    const id = `member-${slot.toLowerCase()}`
    const assignment = await bench.deviceWith(id, sas(deriveDeviceKey(keys[slot], id))).register()
    assert.equal(assignment.deviceId, id)
    assert.equal(bench.cloud.hub.identity(id)?.authentication.type, 'sas')
  })
}

test('no key is ever sent, in no form', async () => {
  const { primaryKey } = enrollByKey(bench, 'individual', 'quiet-1')
  const device = bench.deviceWith('quiet-1', sas(primaryKey))
  await device.register()
  await using session = await device.open()
  const bytes = Buffer.from(primaryKey, 'base64')
  for (const form of [bytes, primaryKey, bytes.toString('hex'), encodeURIComponent(primaryKey)]) {
    assert.ok(!bench.cloud.received().includes(form))
  }
  assert.ok(bench.cloud.received().includes('SharedAccessSignature'))
  assert.ok(session.peer)
})

test('a wrong key is DPS_UNAUTHORIZED, and the failure says until when the token was good', async () => {
  enrollByKey(bench, 'individual', 'wrong-1')
  const failure = await failureOf(bench.deviceWith('wrong-1', sas(newKey())).register())
  assert.equal(failure.code, 'DPS_UNAUTHORIZED', failure.message)
  const leftMs = Date.parse(String(failure.context.tokenEndsAt)) - Date.now()
  assert.ok(leftMs > HOUR - 60_000 && leftMs <= HOUR + 1_000, failure.message)
})

test('the key of a whole group, which was not derived for the device, is DPS_UNAUTHORIZED', async () => {
  const { primaryKey } = enrollByKey(bench, 'group', 'whole-group')
  assert.equal((await failureOf(bench.deviceWith('stray-1', sas(primaryKey)).register())).code, 'DPS_UNAUTHORIZED')
})

test('a wrong key that is refused at CONNACK is DPS_REFUSED_CONNECTION', async () => {
  bench.cloud.faults.set('dpsCredentialRefusal', 'connack')
  enrollByKey(bench, 'individual', 'wrong-2')
  const failure = await failureOf(bench.deviceWith('wrong-2', sas(newKey())).register())
  assert.equal(failure.code, 'DPS_REFUSED_CONNECTION')
  assert.ok('tokenEndsAt' in failure.context)
})

test('a clock that is two hours slow signs a token that has expired: it is refused, and its end is named', async () => {
  const { primaryKey } = enrollByKey(bench, 'individual', 'slow-1')
  const clock = createFakeClock(Math.floor(Date.now() / 1000) * 1000 - 2 * HOUR)
  const failure = await failureOf(bench.deviceWith('slow-1', sas(primaryKey)).register({ clock }))
  assert.equal(failure.code, 'DPS_UNAUTHORIZED')
  const endsAt = new Date(clock.now() + HOUR).toISOString()
  assert.equal(failure.context.tokenEndsAt, endsAt)
  assert.ok(failure.message.includes(endsAt), failure.message)
})

test('a clock that is half an hour wrong does no harm', async () => {
  const { primaryKey } = enrollByKey(bench, 'individual', 'skewed-1')
  for (const offMs of [-HOUR / 2, HOUR / 2]) {
    const clock = createFakeClock(Date.now() + offMs)
    assert.equal((await bench.deviceWith('skewed-1', sas(primaryKey)).register({ clock })).deviceId, 'skewed-1')
  }
})
