import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

import { newIdentity } from '../cloud/hub/identity.ts'
import { startCloud } from '../cloud/cloud.ts'
import { startControl } from '../cloud/control.ts'
import { faultTable } from '../cloud/faults.ts'
import { makeKey, makeRequest, makeTemporaryFolder } from '../kit/openssl.ts'
import { connectDevice, nextPublish, publication, subscribe } from './cloud-client.ts'

async function startBoth() {
  const cloud = await startCloud()
  const control = await startControl(cloud)
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  const ask = async (method: string, path: string, body?: string) => {
    const response = await fetch(control.url + path, { method, ...(body === undefined ? {} : { body }) })
    const text = await response.text()
    return { status: response.status, text, json: () => JSON.parse(text) as Record<string, unknown> }
  }
  return {
    ...{ cloud, ask, credential },
    async [Symbol.asyncDispose]() {
      await control[Symbol.asyncDispose]()
      await cloud.close()
    },
  }
}

test('faults are read, set and reset from the outside', async () => {
  await using both = await startBoth()
  const { ask, cloud } = both
  assert.deepEqual((await ask('GET', '/faults')).json(), cloud.faults.all())
  const set = await ask('PUT', '/faults', '{"twinAnswer":"429","sasGraceSeconds":60}')
  assert.equal(set.status, 200)
  assert.deepEqual([cloud.faults.get('twinAnswer'), cloud.faults.get('sasGraceSeconds')], ['429', 60])
  await ask('DELETE', '/faults')
  assert.deepEqual([cloud.faults.get('twinAnswer'), cloud.faults.get('sasGraceSeconds')], ['off', 0])
  assert.deepEqual(Object.keys((await ask('GET', '/faults/table')).json()), Object.keys(faultTable))
})

for (const [what, method, path, body, status, sentence] of [
  ['an unknown fault', 'PUT', '/faults', '{"twinAnswer":"429","nope":1}', 400, /no fault is named nope/],
  ['an unknown value', 'PUT', '/faults', '{"twinAnswer":"999"}', 400, /twinAnswer is one of/],
  ['a negative number', 'PUT', '/faults', '{"sasGraceSeconds":-1}', 400, /sasGraceSeconds is a number of s/],
  ['no JSON', 'PUT', '/faults', '{', 400, /not JSON/],
  ['no object', 'PUT', '/faults', '[]', 400, /a JSON object/],
  ['too much', 'PUT', '/faults', 'x'.repeat(1024 * 1024 + 1), 413, /more than 1048576 bytes/],
  ['a bad seq', 'GET', '/events?since=-1', undefined, 400, /since is the seq/],
  ['an unknown device', 'POST', '/devices/edge-9/c2d', 'x', 404, /No hub has a device edge-9/],
  ['a bad status', 'PATCH', '/devices/edge-1', '{"status":"off"}', 400, /"status":"enabled"/],
  ['a broken path', 'GET', '/devices/%zz/twin', undefined, 400, /broken percent sign/],
  ['a request that is none', 'POST', '/sign', 'x', 400, /certificate request in PEM/],
  ['an unknown path', 'GET', '/nowhere', undefined, 404, /nothing at \/nowhere/],
  ['an unknown method', 'POST', '/faults', '{}', 405, /does not know POST/],
] as const)
  test(`the control door refuses ${what} with ${status} and a sentence, and changes nothing`, async () => {
    await using both = await startBoth()
    const before = both.cloud.faults.all()
    const answer = await both.ask(method, path, body)
    assert.equal(answer.status, status)
    assert.match(String(answer.json()['error']), sentence)
    assert.deepEqual(both.cloud.faults.all(), before)
  })

test('the control door computes the key of a device of the group that has keys, and says when there is none', async () => {
  await using both = await startBoth()
  const { ask, cloud } = both
  assert.equal((await ask('GET', '/keys/edge-1')).status, 404)
  const fleet = cloud.enrollSasFleet()
  assert.equal((await ask('GET', '/keys/edge-1')).text, `${fleet.deriveKey('edge-1')}\n`)
})

test('events can be followed by their seq, with bodies as text', async () => {
  await using both = await startBoth()
  const { cloud, ask, credential } = both
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  const { seq } = (await ask('GET', '/status')).json()
  client.send(publication('devices/edge-1/messages/events/', 'čau', 1))
  await client.next()
  const events = JSON.parse((await ask('GET', `/events?since=${String(seq)}`)).text) as {
    kind: string
    message: { body: string }
  }[]
  assert.deepEqual(
    events.map(({ kind, message }) => [kind, message.body]),
    [['telemetry', 'čau']],
  )
})

test('messages, methods, twin and status of a device go through the control door', async () => {
  await using both = await startBoth()
  const { cloud, ask, credential } = both
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  await subscribe(client, ['devices/edge-1/messages/devicebound/#', '$iothub/methods/POST/#'])
  assert.equal((await ask('POST', '/devices/edge-1/c2d?colour=red', 'hello')).status, 200)
  const message = await nextPublish(client)
  assert.equal(message.text, 'hello')
  assert.match(message.topic, /colour=red/)
  const call = ask('POST', '/devices/edge-1/methods/ping', '{"n":1}')
  const rid = /rid=(.*)$/.exec((await nextPublish(client)).topic)?.[1]
  client.send(publication(`$iothub/methods/res/200/?$rid=${rid ?? ''}`, '{"pong":1}'))
  assert.deepEqual((await call).json(), { status: 200, payload: { pong: 1 } })
  assert.equal((await ask('PATCH', '/devices/edge-1/twin', '{"desired":{"a":1}}')).json()['desiredVersion'], 2)
  assert.equal((await ask('PATCH', '/devices/edge-1/twin', '{"desired":{"a b":1}}')).status, 400)
  assert.deepEqual((await ask('GET', '/devices/edge-1/twin')).json()['desired'], { a: 1 })
  assert.equal((await ask('PATCH', '/devices/edge-1', '{"status":"disabled"}')).json()['connected'], false)
  await client.closed
  assert.equal((await ask('DELETE', '/devices/edge-1')).status, 200)
  assert.equal(cloud.hub.has('edge-1'), false)
})

test('a configuration reaches the devices that its target condition names, and no others', async () => {
  await using both = await startBoth()
  const { cloud, ask } = both
  for (const deviceId of ['wave-1', 'wave-2', 'wave-3']) cloud.hub.putIdentity(newIdentity(deviceId))
  cloud.hub.patchTwin('wave-1', { tags: { wave: 'pilot' } })
  cloud.hub.patchTwin('wave-3', { tags: { wave: 'pilot' }, desired: { kept: true } })
  const configuration = { targetCondition: "tags.wave = 'pilot'", desired: { auth: { mode: 'x509' } } }
  const applied = await ask('POST', '/configurations', JSON.stringify(configuration))
  assert.deepEqual(applied.json(), { targeted: ['wave-1', 'wave-3'] })
  assert.deepEqual(cloud.hub.twin('wave-1')?.desired, { auth: { mode: 'x509' } })
  assert.deepEqual(cloud.hub.twin('wave-2')?.desired, {})
  assert.deepEqual(cloud.hub.twin('wave-3')?.desired, { kept: true, auth: { mode: 'x509' } })
  const unclear = JSON.stringify({ ...configuration, targetCondition: 'tags.wave LIKES pilot' })
  assert.equal((await ask('POST', '/configurations', unclear)).status, 400)
  assert.equal((await ask('POST', '/configurations', '{"targetCondition":"*"}')).status, 400)
})

test('a request is signed by the intermediate of the authority', async () => {
  await using both = await startBoth()
  await using folder = await makeTemporaryFolder()
  const request = await makeRequest(await makeKey(join(folder.path, 'key.pem')), '/CN=edge-7')
  const { text } = await both.ask('POST', '/sign', request)
  const leaf = new X509Certificate(text)
  assert.equal(leaf.subject, 'CN=edge-7')
  assert.ok(leaf.verify(new X509Certificate(both.cloud.authority.intermediate.certificatePem).publicKey))
  assert.equal(text.match(/-----BEGIN CERTIFICATE-----/g)?.length, 2)
})

test('the program tells how to reach it and ends cleanly on SIGTERM', async () => {
  const program = join(import.meta.dirname, '../cloud/main.ts')
  const child = spawn(process.execPath, [program, '--port', '0', '--quick'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const told = new Map<string, string>()
  for await (const line of createInterface(child.stdout)) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? []
    if (name !== undefined) told.set(name, value ?? '')
    if (line.includes('-X DELETE')) child.kill('SIGTERM')
  }
  assert.deepEqual(await ended, [0, null])
  assert.match(told.get('DPS_HOST') ?? '', /^dps\.localhost:\d+$/)
  assert.equal(told.get('DPS_ID_SCOPE'), '0ne00000001')
  assert.match(told.get('IOT_AGENT_CA_FILE') ?? '', /\.pem$/)
  assert.match(told.get('IOTHUB_SERVICE_CONNECTION_STRING') ?? '', /^'HostName=hub-1\.localhost;SharedAccessKeyName=/)
})
