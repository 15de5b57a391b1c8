/** DPS, hub and service side together, over TLS and MQTT with a client of another make. */
import mqtt from 'mqtt'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { RegistrationState } from '../cloud/dps/records.ts'
import { deriveDeviceKey, signSas } from '../cloud/sas.ts'
import { makeRequest, makeRoot, makeTemporaryFolder } from '../kit/openssl.ts'
import type { ServiceBench } from './cloud-service-kit.ts'
import { startServiceBench } from './cloud-service-kit.ts'

let bench: ServiceBench

before(async () => {
  bench = await startServiceBench()
  bench.cloud.faults.set('retryAfterSeconds', 0)
})

after(() => bench[Symbol.asyncDispose]())

interface Shown {
  readonly clientId?: string
  readonly password?: string
  readonly credential?: { readonly keyPem: string; readonly chainPem: string }
}

type Client = ReturnType<typeof mqtt.connect>

/** Resolves once CONNACK accepted; rejects with the return code in `code` otherwise. */
function connect(
  host: string,
  username: string,
  { clientId = 'edge-0042', password, credential }: Shown,
): Promise<Client> {
  const client = mqtt.connect({
    ...{
      protocol: 'mqtts',
      host: '127.0.0.1',
      port: bench.cloud.port,
      servername: host,
      ca: readFileSync(bench.cloud.caFile),
    },
    ...{ clientId, username, reconnectPeriod: 0, protocolVersion: 4 },
    ...(password === undefined ? {} : { password }),
    ...(credential === undefined ? {} : { key: credential.keyPem, cert: credential.chainPem }),
  })
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve(client))
    client.once('error', reject)
  })
}

interface Received {
  readonly topic: string
  readonly text: string
}

/** Publishes and gives back the next message; notes whether PUBACK came first. */
async function ask(client: Client, topic: string, body: string): Promise<Received & { readonly order: string }> {
  const order: string[] = []
  const answered = new Promise<Received>((resolve) => {
    client.once('message', (answer: string, payload: Buffer) => {
      order.push('answer')
      resolve({ topic: answer, text: payload.toString() })
    })
  })
  await new Promise<void>((resolve, reject) => {
    client.publish(topic, body, { qos: 1 }, (error) => {
      order.push('puback')
      if (error instanceof Error) reject(error)
      else resolve()
    })
  })
  return { ...(await answered), order: order.join() }
}

async function openDps(shown: Shown): Promise<Client> {
  const { idScope, dps } = bench.cloud
  const client = await connect(dps.host, `${idScope}/registrations/edge-0042/api-version=2019-03-31`, shown)
  await new Promise<void>((resolve, reject) => {
    client.subscribe('$dps/registrations/res/#', { qos: 1 }, (error, granted) => {
      if (error instanceof Error || granted?.[0]?.qos !== 1) reject(error ?? new Error('not granted at QoS 1'))
      else resolve()
    })
  })
  return client
}

/** The whole conversation; the statuses of the answers and the last body. */
async function provision(
  shown: Shown,
): Promise<{ readonly statuses: readonly number[]; readonly state: RegistrationState }> {
  const client = await openDps(shown)
  const statuses: number[] = []
  let answer = await ask(client, '$dps/registrations/PUT/iotdps-register/?$rid=1', '{}')
  const { operationId } = JSON.parse(answer.text) as { operationId: string }
  statuses.push(statusOf(answer))
  for (let rid = 2; statusOf(answer) === 202; rid += 1) {
    const topic = `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${rid}&operationId=${operationId}`
    answer = await ask(client, topic, ' ')
    statuses.push(statusOf(answer))
  }
  client.end(true)
  return { statuses, state: (JSON.parse(answer.text) as { registrationState: RegistrationState }).registrationState }
}

function statusOf({ topic }: Received): number {
  return Number(topic.split('/')[3])
}

const hubUser = (host: string) => `${host}/edge-0042/?api-version=2021-04-12`

test('a device is provisioned by certificate, then by key, and each registration ends the other credential', async () => {
  const { cloud, registry } = bench
  const { hub } = cloud
  const key = Buffer.alloc(32, 5).toString('base64')
  const symmetricKey = { primaryKey: key, secondaryKey: key }
  cloud.enrollFleet('fleet-x509', { iotHubHostName: hub.host })
  const keys = { attestation: { type: 'symmetricKey', symmetricKey }, iotHubHostName: hub.host }
  cloud.dps.enrollments.put('group', 'fleet-keys', keys)
  const credential = await cloud.authority.makeDevice('edge-0042')
  const deviceKey = deriveDeviceKey(key, 'edge-0042')
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + 3600
  const hubToken = signSas({ resource: `${hub.host}/devices/edge-0042`, key: deviceKey, expiresAtSeconds })
  const dpsResource = `${cloud.idScope}/registrations/edge-0042`
  const dpsToken = signSas({ resource: dpsResource, key: deviceKey, expiresAtSeconds, skn: 'registration' })

  const first = await provision({ credential })
  assert.deepEqual(first.statuses, [202, 202, 200])
  assert.equal(first.state.assignedHub, `${hub.host}:${cloud.port}`)
  assert.equal(
    (await registry.get('edge-0042')).responseBody.authentication?.x509Thumbprint?.primaryThumbprint?.length,
    64,
  )
  const byCertificate = await connect(hub.host, hubUser(hub.host), { credential })
  await assert.rejects(connect(hub.host, hubUser(hub.host), { password: hubToken }), { code: 5 })
  byCertificate.end(true)

  const second = await provision({ password: dpsToken })
  assert.equal(second.state.substatus, 'reprovisionedToInitialAssignment')
  assert.deepEqual(second.state.symmetricKey, { enrollmentGroupId: 'fleet-keys' })
  await assert.rejects(connect(hub.host, hubUser(hub.host), { credential }), { code: 5 })
  const byKey = await connect(hub.host, hubUser(hub.host), { password: hubToken })
  const query = registry.createQuery(
    "SELECT deviceId FROM devices WHERE connectionState = 'Connected' AND authenticationType = 'sas'",
  )
  assert.deepEqual((await query.next()).result, [{ deviceId: 'edge-0042' }])
  byKey.end(true)
})

test('PUBACK comes before the answer', async () => {
  bench.cloud.enrollFleet()
  const client = await openDps({ credential: await bench.cloud.authority.makeDevice('edge-0042') })
  const { order } = await ask(client, '$dps/registrations/PUT/iotdps-register/?$rid=1', '')
  assert.equal(order, 'puback,answer')
  client.end(true)
})

test('a certificate of another authority is answered 401 over the wire and recorded with its reason', async () => {
  const { cloud } = bench
  cloud.enrollFleet()
  const request = await cloud.authority.makeDevice('edge-0042')
  await using folder = await makeTemporaryFolder()
  const stranger = await makeRoot(folder.path, 'Stranger')
  const chainPem = await stranger.sign(await makeRequest(request.keyFile, '/CN=edge-0042'))
  const client = await openDps({ credential: { keyPem: request.keyPem, chainPem } })
  const since = cloud.record.seq()
  const answer = await ask(client, '$dps/registrations/PUT/iotdps-register/?$rid=1', '{}')
  assert.equal(statusOf(answer), 401)
  assert.equal((JSON.parse(answer.text) as { errorCode: number }).errorCode, 401002)
  const refused = await cloud.record.waitFor((event) => event.kind === 'refused', { since })
  assert.match(refused.kind === 'refused' ? refused.reason : '', /leads to no CA certificate/)
  client.end(true)
})

test('a refusal at CONNECT has its return code', async () => {
  const { cloud } = bench
  const { host } = cloud.dps
  await assert.rejects(connect(host, 'edge-0042', {}), { code: 4 })
  const username = `${cloud.idScope}/registrations/edge-0042/api-version=2018-01-01`
  await assert.rejects(connect(host, username, {}), { code: 5 })
  const good = `${cloud.idScope}/registrations/edge-0042/api-version=2021-10-01`
  await assert.rejects(connect(host, good, { clientId: 'edge-0043' }), { code: 5 })
})

test('an unknown topic and a body above 96 KB close the connection without PUBACK', async () => {
  bench.cloud.enrollFleet()
  const credential = await bench.cloud.authority.makeDevice('edge-0042')
  for (const [topic, bytes] of [
    ['$dps/registrations/PUT/nothing/?$rid=1', 2],
    ['$dps/registrations/PUT/iotdps-register/?$rid=1', 96 * 1024 + 1],
    ['$dps/registrations/PUT/iotdps-register/?$rid=1', 200 * 1024],
  ] as const) {
    const client = await openDps({ credential })
    const closed = new Promise((resolve) => client.once('close', resolve))
    let acknowledged = false
    client.publish(topic, Buffer.alloc(bytes, 0x20), { qos: 1 }, (error) => (acknowledged = !(error instanceof Error)))
    await closed
    assert.equal(acknowledged, false, topic)
    client.end(true)
  }
})

test('a method called by the service package reaches the device and its answer comes back', async () => {
  const { cloud, client: service } = bench
  const { hub } = cloud
  cloud.enrollFleet('fleet-x509', { iotHubHostName: hub.host })
  const credential = await cloud.authority.makeDevice('edge-0042')
  await provision({ credential })
  const device = await connect(hub.host, hubUser(hub.host), { credential })
  await new Promise((resolve) => device.subscribe('$iothub/methods/POST/#', { qos: 0 }, resolve))
  device.on('message', (topic: string, payload: Buffer) => {
    const rid = topic.split('$rid=')[1] ?? ''
    device.publish(
      `$iothub/methods/res/207/?$rid=${rid}`,
      JSON.stringify({ echo: JSON.parse(payload.toString()) as unknown }),
    )
  })
  const { result } = await service.invokeDeviceMethod('edge-0042', { methodName: 'ping', payload: { n: 1 } })
  assert.deepEqual(result, { status: 207, payload: { echo: { n: 1 } } })
  device.end(true)
})
