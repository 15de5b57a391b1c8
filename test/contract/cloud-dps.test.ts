/** The conversation with DPS: session, topics, bodies, statuses and throttles, for a device with a symmetric key. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseUsername } from '../cloud/dps/username.ts'
import { signSas } from '../cloud/sas.ts'
import type { Showing } from './cloud-dps-kit.ts'
import {
  bodyOf,
  createBench,
  createDevice,
  helloOf,
  HUB1,
  ID_SCOPE,
  lastRefusal,
  NOW_MS,
  stateOf,
} from './cloud-dps-kit.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const OTHER = Buffer.alloc(32, 8).toString('base64')

function token(change: Partial<Parameters<typeof signSas>[0]> = {}): string {
  const resource = `${ID_SCOPE}/registrations/edge-0042`
  return signSas({ resource, key: KEY, expiresAtSeconds: NOW_MS / 1000 + 3600, skn: 'registration', ...change })
}

/** A bench with one individual enrollment, edge-0042, that has both keys. */
function createEnrolledBench() {
  const bench = createBench()
  const attestation = { type: 'symmetricKey', symmetricKey: { primaryKey: KEY, secondaryKey: OTHER } }
  bench.dps.enrollments.put('individual', 'edge-0042', { attestation, iotHubHostName: HUB1 })
  return bench
}

function createEnrolledDevice(showing: Showing = {}) {
  const bench = createEnrolledBench()
  return { ...bench, device: createDevice(bench.dps, { password: token(), ...showing }) }
}

test('a registration is answered 202 with retry-after, then 202 to a poll, then 200 with the assigned hub', async () => {
  const { device } = createEnrolledDevice()
  const [accepted] = await device.publish('$dps/registrations/PUT/iotdps-register/?$rid=a7', '{}')
  assert.equal(accepted?.topic, '$dps/registrations/res/202/?$rid=a7&retry-after=3')
  const { operationId = '', status } = bodyOf(accepted)
  assert.match(operationId, /^\d\.[\da-f]{16}\.[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/)
  assert.equal(status, 'assigning')

  const waiting = await device.poll(operationId)
  assert.equal(waiting.status, 202)
  assert.match(waiting.topic, /\/\?\$rid=[^&]+&retry-after=3$/)
  assert.deepEqual(bodyOf(waiting), { operationId, status: 'assigning' })

  const done = await device.poll(operationId)
  assert.match(done.topic, /^\$dps\/registrations\/res\/200\/\?\$rid=\d+$/)
  assert.equal(bodyOf(done).operationId, operationId)
  assert.equal(bodyOf(done).status, 'assigned')
  const state = stateOf(done)
  assert.equal(state.registrationId, 'edge-0042')
  assert.equal(state.deviceId, 'edge-0042')
  assert.equal(state.assignedHub, HUB1)
  assert.equal(state.substatus, 'initialAssignment')
  assert.match(state.createdDateTimeUtc, /^2026-06-01T00:00:00\.\d{7}Z$/)
  assert.match(state.lastUpdatedDateTimeUtc, /^2026-06-01T00:00:00\.\d{7}Z$/)
  assert.match(Buffer.from(state.etag, 'base64').toString(), /^".+"$/)
})

test('even without polls in between the first answer is 202', async () => {
  const { device, faults } = createEnrolledDevice()
  faults.set('pollsBeforeAssigned', 0)
  const accepted = await device.register()
  assert.equal(accepted.status, 202)
  assert.equal((await device.poll(bodyOf(accepted).operationId ?? '')).status, 200)
})

test('the etag stays the same while nothing is registered anew', async () => {
  const { device, dps } = createEnrolledDevice()
  const done = await device.provision()
  const again = await device.poll(bodyOf(done).operationId ?? '')
  assert.equal(stateOf(again).etag, stateOf(done).etag)
  assert.equal(dps.records.get('edge-0042')?.state.etag, stateOf(done).etag)
  assert.notEqual(stateOf(await device.provision()).etag, stateOf(done).etag)
})

for (const [what, body] of [
  ['an empty body', ''],
  ['one space', ' '],
  ['an object without registrationId', '{"payload":{"a":1}}'],
  ['the registration ID in capitals', '{"registrationId":"EDGE-0042"}'],
  ['a csr, which a version without issuance ignores', '{"csr":"AAAA"}'],
] as const)
  test(`a registration with ${what} is accepted`, async () => {
    const { device } = createEnrolledDevice()
    assert.equal((await device.provision(body)).status, 200)
  })

for (const [what, body] of [
  ['malformed JSON', '{"registrationId":'],
  ['an array', '[]'],
  ['a number', '7'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['a registration ID that is a number', '{"registrationId":7}'],
  ['the registration ID of another device', '{"registrationId":"edge-0043"}'],
  ['tpm, which MQTT does not carry', '{"tpm":{}}'],
] as const)
  test(`a registration with ${what} is answered 400 in the form of DPS`, async () => {
    const { device, hubs } = createEnrolledDevice()
    const answer = await device.register(body)
    assert.equal(answer.status, 400)
    const { errorCode = 0, trackingId, message, timestampUtc } = bodyOf(answer)
    assert.equal(Math.floor(errorCode / 1000), 400)
    assert.match(trackingId ?? '', /^[\da-f-]{36}$/)
    assert.equal(typeof message, 'string')
    assert.match(timestampUtc ?? '', /^2026-06-01T/)
    assert.equal(hubs[0].devices.size, 0)
  })

test('a body that cannot be read has error code 400012', async () => {
  const { device } = createEnrolledDevice()
  assert.equal(bodyOf(await device.register('{')).errorCode, 400012)
})

test('a body of 96 KB passes and one byte more closes the connection before it is acknowledged', () => {
  const { device, dps } = createEnrolledDevice()
  const publish = (bytes: number) =>
    dps.rejects?.(device.link, {
      ...{ topic: '$dps/registrations/PUT/iotdps-register/?$rid=1', qos: 1, retain: false },
      payload: Buffer.alloc(bytes),
    })
  assert.equal(publish(96 * 1024), undefined)
  assert.match(publish(96 * 1024 + 1) ?? '', /more than 98304 bytes/)
})

test('only the response filter of DPS exists', () => {
  const { device, dps } = createEnrolledDevice()
  assert.equal(dps.permits(device.link, '$dps/registrations/res/#'), true)
  for (const filter of ['#', '$dps/#', '$dps/registrations/res/200/#', 'devices/edge-0042/messages/devicebound/#'])
    assert.equal(dps.permits(device.link, filter), false, filter)
})

for (const topic of [
  '$dps/registrations/PUT/iotdps-register/',
  '$dps/registrations/PUT/iotdps-register/?$rid=',
  '$dps/registrations/PUT/iotdps-register/?rid=1',
  '$dps/registrations/POST/iotdps-register/?$rid=1',
  '$dps/registrations/GET/iotdps-get-operationstatus/?operationId=1',
  'devices/edge-0042/messages/events/',
  '',
])
  test(`a publish to ${JSON.stringify(topic)} closes the connection`, async () => {
    const { device, dps } = createEnrolledDevice()
    const message = { topic, payload: Buffer.from('{}'), qos: 1, retain: false } as const
    assert.match(dps.rejects?.(device.link, message) ?? '', /knows no topic/)
    assert.deepEqual(await device.publish(topic, '{}'), [])
    assert.equal(device.cuts.length, 1)
  })

test('a poll for an operation of another device or of nobody is answered 404', async () => {
  const { device, dps, faults } = createEnrolledDevice()
  const group = { type: 'symmetricKey', symmetricKey: { primaryKey: OTHER, secondaryKey: KEY } }
  dps.enrollments.put('individual', 'edge-0043', { attestation: group })
  const password = token({ resource: `${ID_SCOPE}/registrations/edge-0043`, key: OTHER })
  const stranger = createDevice(dps, { registrationId: 'edge-0043', password })
  const { operationId = '' } = bodyOf(await device.register())
  assert.equal((await stranger.poll(operationId)).status, 404)
  assert.equal((await device.poll('5.0.0')).status, 404)
  faults.set('pollsPerTenSeconds', 0)
  assert.equal((await device.poll(operationId)).status, 202)
})

test('the user name is read literally, without a question mark', () => {
  assert.deepEqual(parseUsername('0ne1/registrations/edge-1/api-version=2019-03-31&ClientVersion=node%2F1'), {
    ...{ idScope: '0ne1', registrationId: 'edge-1', apiVersion: '2019-03-31' },
  })
  assert.equal(parseUsername('0ne1/registrations/edge-1/api-version=2021-10-01')?.apiVersion, '2021-10-01')
  for (const text of [
    '0ne1/registrations/edge-1/?api-version=2019-03-31',
    '0ne1/registrations/edge-1?api-version=2019-03-31',
    '0ne1/registrations/edge-1/api-version=',
    '0ne1/registrations/edge-1',
    '0ne1/devices/edge-1/api-version=2019-03-31',
    '/registrations/edge-1/api-version=2019-03-31',
    '',
  ])
    assert.equal(parseUsername(text), undefined, text)
})

test('a session is accepted for each known api-version and refused for others with return code 5', async () => {
  const { dps } = createEnrolledBench()
  const verdict = (version: string) =>
    dps.authorize(helloOf({ username: `${ID_SCOPE}/registrations/edge-0042/api-version=${version}` }))
  for (const version of ['2019-03-31', '2021-06-01', '2021-10-01', '2021-11-01-preview', '2025-07-01-preview'])
    assert.deepEqual(await verdict(version), { accepted: true }, version)
  for (const version of ['2018-01-01', '2099-01-01', 'x']) {
    const refused = await verdict(version)
    assert.ok(!refused.accepted)
    assert.equal(refused.returnCode, 5)
  }
})

test('a user name of another form is refused with return code 4', async () => {
  const verdict = await createEnrolledBench().dps.authorize(helloOf({ username: 'edge-0042' }))
  assert.ok(!verdict.accepted)
  assert.equal(verdict.returnCode, 4)
})

test('a client ID that is not the registration ID is refused at CONNECT, or in the answer when the fault says so', async () => {
  const { dps, faults } = createEnrolledBench()
  const showing = { clientId: 'edge-0043', password: token() }
  const verdict = await dps.authorize(helloOf(showing))
  assert.ok(!verdict.accepted)
  assert.equal(verdict.returnCode, 5)
  faults.set('clientIdMismatch', 'response')
  assert.deepEqual(await dps.authorize(helloOf(showing)), { accepted: true })
  assert.equal((await createDevice(dps, showing).register()).status, 401)
})

test('another ID scope is answered 404', async () => {
  const { dps } = createEnrolledBench()
  const username = '0ne00000002/registrations/edge-0042/api-version=2019-03-31'
  const answer = await createDevice(dps, { username, password: token() }).register()
  assert.equal(answer.status, 404)
  assert.equal(Math.floor((bodyOf(answer).errorCode ?? 0) / 1000), 404)
})

for (const registrationId of ['edge_', 'edge.', 'edge 42', 'edge#42', 'é', 'a'.repeat(129)])
  test(`the registration ID ${registrationId.slice(0, 12)} breaks the rules and is answered 400`, async () => {
    const { dps } = createEnrolledBench()
    assert.equal((await createDevice(dps, { registrationId }).register()).status, 400)
  })

for (const [what, password, reason] of [
  ['of a key that is not enrolled', token({ key: Buffer.alloc(32, 9).toString('base64') }), /fits none of the keys/],
  ['that has expired', token({ expiresAtSeconds: NOW_MS / 1000 - 60 }), /expired/],
  ['of another device', token({ resource: `${ID_SCOPE}/registrations/edge-0043` }), /is for/],
  ['of another scope', token({ resource: '0ne00000002/registrations/edge-0042' }), /is for/],
  ['of a hub policy', token({ skn: 'iothubowner' }), /iothubowner and not registration/],
  ['that is none', 'password', /does not begin/],
  ['that is absent', '', /neither a SAS token nor a certificate/],
] as const)
  test(`a token ${what} is answered 401 and the hub stays untouched`, async () => {
    const { device, hubs, events } = createEnrolledDevice({ password })
    const answer = await device.register()
    assert.equal(answer.status, 401)
    assert.equal(bodyOf(answer).errorCode, 401002)
    assert.match(lastRefusal(events), reason)
    assert.equal(hubs[0].devices.size, 0)
  })

test('with dpsCredentialRefusal=connack a bad credential is refused with return code 5 and a good one is not', async () => {
  const { dps, faults } = createEnrolledBench()
  faults.set('dpsCredentialRefusal', 'connack')
  const refused = await dps.authorize(helloOf({ password: 'password' }))
  assert.ok(!refused.accepted)
  assert.equal(refused.returnCode, 5)
  assert.deepEqual(await dps.authorize(helloOf({ password: token() })), { accepted: true })
})

test('a disabled enrollment is answered 401, or ends in status disabled when the fault says so', async () => {
  const { device, dps, faults, hubs } = createEnrolledDevice()
  const attestation = { type: 'symmetricKey' }
  dps.enrollments.put('individual', 'edge-0042', { attestation, provisioningStatus: 'disabled' }, '*')
  assert.equal((await device.register()).status, 401)
  faults.set('disabledEnrollment', 'status')
  const done = await device.provision()
  assert.equal(done.status, 200)
  assert.equal(bodyOf(done).status, 'disabled')
  assert.equal(stateOf(done).assignedHub, undefined)
  assert.equal(hubs[0].devices.size, 0)
})

test('a device that polls more than five times in ten seconds is told 429 and when to come back', async () => {
  const { device, faults, setNow } = createEnrolledDevice()
  faults.set('pollsBeforeAssigned', 100)
  const { operationId = '' } = bodyOf(await device.register())
  for (let turn = 0; turn < 5; turn += 1) assert.equal((await device.poll(operationId)).status, 202)
  setNow(NOW_MS + 4000)
  const throttled = await device.poll(operationId)
  assert.match(throttled.topic, /res\/429\/\?\$rid=\d+&retry-after=6$/)
  assert.equal(Math.floor((bodyOf(throttled).errorCode ?? 0) / 1000), 429)
  setNow(NOW_MS + 10_000)
  assert.equal((await device.poll(operationId)).status, 202)
})

test('more registrations in a minute than the fault allows are told 429, and there is room again a minute later', async () => {
  const { device, faults, setNow } = createEnrolledDevice()
  faults.set('registrationsPerMinute', 2)
  assert.equal((await device.register()).status, 202)
  assert.equal((await device.register()).status, 202)
  const throttled = await device.register()
  assert.match(throttled.topic, /res\/429\/\?\$rid=\d+&retry-after=60$/)
  setNow(NOW_MS + 60_000)
  assert.equal((await device.register()).status, 202)
})

for (const status of ['400', '401', '404', '409', '429', '500', '503'] as const)
  test(`dpsAnswer=${status} replaces each answer by an error of that status with a JSON body`, async () => {
    const { device, faults, hubs } = createEnrolledDevice()
    faults.set('dpsAnswer', status)
    const answer = await device.register()
    assert.equal(answer.status, Number(status))
    assert.equal(Math.floor((bodyOf(answer).errorCode ?? 0) / 1000), Number(status))
    assert.equal(answer.topic.includes('retry-after=3'), ['429', '500', '503'].includes(status))
    assert.equal(hubs[0].devices.size, 0)
  })

test('dpsAnswer can be silence, a closed connection, broken JSON or nothing at all', async () => {
  const { device, faults } = createEnrolledDevice()
  faults.set('dpsAnswer', 'silence')
  assert.deepEqual(await device.publish('$dps/registrations/PUT/iotdps-register/?$rid=1'), [])
  assert.deepEqual(device.cuts, [])
  faults.set('dpsAnswer', 'malformed')
  const malformed = await device.register()
  assert.throws(() => bodyOf(malformed), SyntaxError)
  faults.set('dpsAnswer', 'empty')
  assert.equal((await device.register()).text, '')
  faults.set('dpsAnswer', 'close')
  assert.deepEqual(await device.publish('$dps/registrations/PUT/iotdps-register/?$rid=1'), [])
  assert.equal(device.cuts.length, 1)
})

test('dpsAnswer=nonAscii echoes a payload with a letter outside ASCII', async () => {
  const { device, faults } = createEnrolledDevice()
  faults.set('dpsAnswer', 'nonAscii')
  assert.deepEqual(stateOf(await device.provision()).payload, { asset: 'Motor č. 5' })
})

for (const status of ['failed', 'disabled', 'unassigned'] as const)
  test(`dpsOutcome=${status} ends a good registration in that status without a hub`, async () => {
    const { device, faults, hubs } = createEnrolledDevice()
    faults.set('dpsOutcome', status)
    const done = await device.provision()
    assert.equal(done.status, 200)
    assert.equal(bodyOf(done).status, status)
    assert.equal(stateOf(done).status, status)
    assert.equal(typeof stateOf(done).errorCode, status === 'failed' ? 'number' : 'undefined')
    assert.equal(stateOf(done).assignedHub, undefined)
    assert.equal(hubs[0].devices.size, 0)
  })

test('dpsOutcome=mqttV5 assigns and asks for a connection profile that a 3.1.1 client does not know', async () => {
  const { device, faults } = createEnrolledDevice()
  faults.set('dpsOutcome', 'mqttV5')
  const state = stateOf(await device.provision())
  assert.equal(state.connectionProfile, 'mqttV5')
  assert.equal(state.status, 'assigned')
})
