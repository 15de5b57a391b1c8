/** The registry, twins, queries and methods of a hub, called by the unmodified package azure-iothub. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import type { Identity } from '../cloud/model.ts'
import type { ServiceBench } from './cloud-service-kit.ts'
import { signFor, startServiceBench } from './cloud-service-kit.ts'

const VERSION = 'api-version=2021-04-12'
const SHA256 = 'AB'.repeat(32)
const KEY = Buffer.alloc(32, 3).toString('base64')

let bench: ServiceBench
let host: string

before(async () => {
  bench = await startServiceBench()
  host = bench.cloud.hub.host
})

after(() => bench[Symbol.asyncDispose]())

beforeEach(() => {
  for (const identity of bench.cloud.hub.identities()) bench.cloud.hub.removeIdentity(identity.deviceId)
  bench.cloud.faults.reset()
})

/** What the package says of a refusal: name of its error class and the code of the hub. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'accepted'
  } catch (error) {
    const { name, response } = error as {
      name: string
      response?: { statusCode: number; headers: Record<string, string> }
    }
    return `${name} ${response?.statusCode ?? ''} ${response?.headers['iothub-errorcode'] ?? ''}`.trim()
  }
}

test('a device is created with keys of its own, read, disabled and deleted', async () => {
  const { registry } = bench
  const { responseBody: created } = await registry.create({ deviceId: 'edge-0042', status: 'enabled' })
  const { type, symmetricKey } = created.authentication as Identity['authentication']
  assert.equal(type, 'sas')
  assert.equal(Buffer.from(symmetricKey.primaryKey ?? '', 'base64').length, 32)
  assert.notEqual(symmetricKey.primaryKey, symmetricKey.secondaryKey)
  assert.equal(created.connectionState, 'Disconnected')

  const { responseBody: read } = await registry.get('edge-0042')
  assert.deepEqual(read.authentication, created.authentication)
  const { authentication } = read
  await registry.update({ deviceId: 'edge-0042', authentication, status: 'disabled', statusReason: 'stolen' })
  const { responseBody: disabled } = await registry.get('edge-0042')
  assert.deepEqual(disabled.authentication, created.authentication)
  assert.equal(disabled.status, 'disabled')
  assert.equal(disabled.statusReason, 'stolen')
  assert.equal(disabled.generationId, created.generationId)
  assert.notEqual(disabled.etag, created.etag)

  await registry.delete('edge-0042')
  assert.equal(await refusal(registry.get('edge-0042')), 'DeviceNotFoundError 404 DeviceNotFound')
})

test('each type of identity is created, and the twin shows type and thumbprint', async () => {
  const { registry } = bench
  const x509Thumbprint = { primaryThumbprint: SHA256, secondaryThumbprint: SHA256 }
  await registry.create({ deviceId: 'self', authentication: { type: 'selfSigned', x509Thumbprint } })
  await registry.create({ deviceId: 'ca', authentication: { type: 'certificateAuthority' } })
  await registry.create({ deviceId: 'none', authentication: { type: 'none' } })
  const symmetricKey = { primaryKey: KEY, secondaryKey: KEY }
  await registry.create({ deviceId: 'sas', authentication: { type: 'sas', symmetricKey } })
  for (const [deviceId, type] of [
    ['self', 'selfSigned'],
    ['ca', 'certificateAuthority'],
    ['none', 'none'],
    ['sas', 'sas'],
  ] as const) {
    const { responseBody: twin } = await registry.getTwin(deviceId)
    const shown = twin as unknown as { authenticationType: string; x509Thumbprint: unknown; deviceEtag: string }
    assert.equal(shown.authenticationType, type)
    const none = { primaryThumbprint: null, secondaryThumbprint: null }
    assert.deepEqual(shown.x509Thumbprint, type === 'selfSigned' ? x509Thumbprint : none)
  }
  assert.equal(bench.cloud.hub.identity('sas')?.authentication.symmetricKey.primaryKey, KEY)
})

for (const [what, authentication] of [
  ['an unknown type', { type: 'both' }],
  ['one key only', { type: 'sas', symmetricKey: { primaryKey: KEY, secondaryKey: '' } }],
  ['a short key', { type: 'sas', symmetricKey: { primaryKey: 'c2hvcnQ=', secondaryKey: 'c2hvcnQ=' } }],
  ['selfSigned without a thumbprint', { type: 'selfSigned' }],
  ['a thumbprint of another length', { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: 'ABCD' } }],
] as const)
  test(`a device with ${what} is refused as ArgumentInvalid`, async () => {
    const attempt = bench.registry.create({ deviceId: 'edge-0042', authentication })
    assert.equal(await refusal(attempt), 'ArgumentError 400 ArgumentInvalid')
    assert.equal(bench.cloud.hub.has('edge-0042'), false)
  })

test('creating what exists is 409, updating or deleting what does not is 404', async () => {
  const { registry } = bench
  await registry.create({ deviceId: 'edge-0042' })
  assert.equal(
    await refusal(registry.create({ deviceId: 'edge-0042' })),
    'DeviceAlreadyExistsError 409 DeviceAlreadyExists',
  )
  assert.equal(await refusal(registry.update({ deviceId: 'nobody' })), 'DeviceNotFoundError 404 DeviceNotFound')
  assert.equal(await refusal(registry.delete('nobody')), 'DeviceNotFoundError 404 DeviceNotFound')
  assert.equal(await refusal(registry.getTwin('nobody')), 'DeviceNotFoundError 404 DeviceNotFound')
})

test('a device ID with characters that Azure does not take is refused', async () => {
  assert.equal(await refusal(bench.registry.create({ deviceId: 'edge 42' })), 'ArgumentError 400 ArgumentInvalid')
  assert.equal(await refusal(bench.registry.create({ deviceId: "a%b'c:1" })), 'accepted')
  assert.equal((await bench.registry.get("a%b'c:1")).responseBody.deviceId, "a%b'c:1")
})

test('If-Match guards devices and twins with 412', async () => {
  await bench.registry.create({ deviceId: 'edge-0042' })
  const stale = { headers: { 'if-match': '"AAAA"' } }
  const put = { ...stale, body: '{"deviceId":"edge-0042"}' }
  assert.equal((await bench.ask(host, 'PUT', `/devices/edge-0042?${VERSION}`, put)).status, 412)
  assert.equal((await bench.ask(host, 'DELETE', `/devices/edge-0042?${VERSION}`, stale)).status, 412)
  assert.equal(
    await refusal(bench.registry.updateTwin('edge-0042', {}, 'AAAA')),
    'InvalidEtagError 412 PreconditionFailed',
  )
  const { responseBody: twin } = await bench.registry.getTwin('edge-0042')
  assert.equal(await refusal(bench.registry.updateTwin('edge-0042', { tags: { a: 1 } }, twin.etag)), 'accepted')
  assert.equal(
    await refusal(bench.registry.updateTwin('edge-0042', {}, twin.etag)),
    'InvalidEtagError 412 PreconditionFailed',
  )
})

test('a twin is merged by PATCH and replaced by PUT, and null deletes', async () => {
  const { registry } = bench
  await registry.create({ deviceId: 'edge-0042' })
  const patch = { tags: { site: 'a', room: 1 }, properties: { desired: { auth: { mode: 'sas' }, n: 1 } } }
  await registry.updateTwin('edge-0042', patch, '*')
  const change = { tags: { room: null }, properties: { desired: { auth: { mode: 'x509' } } } }
  const { responseBody: merged } = await registry.updateTwin('edge-0042', change, '*')
  assert.deepEqual(merged.tags, { site: 'a' })
  assert.deepEqual(merged.properties.desired, { auth: { mode: 'x509' }, n: 1, $version: 3 })

  const body = JSON.stringify({ properties: { desired: { only: true, $version: 3 } } })
  const replaced = await bench.ask(host, 'PUT', `/twins/edge-0042?${VERSION}`, { body })
  const { properties, tags } = JSON.parse(replaced.text) as { properties: { desired: unknown }; tags: unknown }
  assert.deepEqual(properties.desired, { only: true, $version: 4 })
  assert.deepEqual(tags, { site: 'a' })
})

test('a twin patch beyond the limits is 400', async () => {
  await bench.registry.create({ deviceId: 'edge-0042' })
  for (const patch of [
    { tags: { 'a.b': 1 } },
    { tags: 'text' },
    { properties: { desired: { long: 'x'.repeat(5000) } } },
    { properties: { desired: [] } },
  ])
    assert.equal(await refusal(bench.registry.updateTwin('edge-0042', patch, '*')), 'ArgumentError 400 ArgumentInvalid')
})

test('bulk calls create, update and remove, and name what failed', async () => {
  const { registry } = bench
  const { responseBody: added } = await registry.addDevices([{ deviceId: 'a' }, { deviceId: 'b' }])
  assert.deepEqual(added, { isSuccessful: true, errors: [], warnings: [] })
  await registry.updateDevices([{ deviceId: 'a', status: 'disabled' }], true)
  assert.equal(bench.cloud.hub.identity('a')?.status, 'disabled')
  const { responseBody: figures } = await registry.getRegistryStatistics()
  assert.deepEqual(figures, { totalDeviceCount: 2, enabledDeviceCount: 1, disabledDeviceCount: 1 })
  await registry.removeDevices([{ deviceId: 'b' }], true)
  const { responseBody: left } = await registry.list()
  assert.deepEqual(
    left.map((device) => device.deviceId),
    ['a'],
  )
  const again = await registry.addDevices([{ deviceId: 'a' }, { deviceId: 'c' }]).catch((error: unknown) => error)
  const { responseBody } = again as { responseBody: string }
  const result = JSON.parse(responseBody) as {
    isSuccessful: boolean
    errors: { deviceId: string; errorCode: number }[]
  }
  assert.equal(result.isSuccessful, false)
  assert.deepEqual(
    result.errors.map(({ deviceId, errorCode }) => [deviceId, errorCode]),
    [['a', 409001]],
  )
  assert.ok(bench.cloud.hub.has('c'))
})

test('a query pages through its continuation until the last row', async () => {
  const devices = Array.from({ length: 25 }, (_, index) => ({ deviceId: `edge-${String(index).padStart(2, '0')}` }))
  await bench.registry.addDevices(devices)
  const query = bench.registry.createQuery('SELECT * FROM devices', 10)
  const sizes: number[] = []
  const seen: string[] = []
  while (query.hasMoreResults) {
    const { result } = await query.nextAsTwin()
    sizes.push(result.length)
    seen.push(...(result as { deviceId: string }[]).map((twin) => twin.deviceId))
  }
  assert.deepEqual(sizes, [10, 10, 5])
  assert.deepEqual(
    seen.toSorted((a, b) => a.localeCompare(b)),
    devices.map((device) => device.deviceId),
  )
})

test('an unsupported query is refused with the reason', async () => {
  const error = await bench.registry
    .createQuery('SELECT * FROM devices WHERE STARTSWITH(deviceId, 1)')
    .next()
    .catch((cause: unknown) => cause)
  assert.match(String(error), /STARTSWITH is not supported/)
  assert.equal(
    await refusal(bench.registry.createQuery('SELECT * FROM devices.jobs').next()),
    'ArgumentError 400 ArgumentInvalid',
  )
})

test('a method of a device that is not connected is 404103 and of an unknown one DeviceNotFound', async () => {
  await bench.registry.create({ deviceId: 'edge-0042' })
  const call = { methodName: 'restart', responseTimeoutInSeconds: 1 }
  const error = await bench.client.invokeDeviceMethod('edge-0042', call).catch((cause: unknown) => cause)
  const { response, responseBody } = error as { response: { statusCode: number }; responseBody: string }
  assert.equal(response.statusCode, 404)
  const inner = JSON.parse((JSON.parse(responseBody) as { Message: string }).Message) as { errorCode: number }
  assert.equal(inner.errorCode, 404103)
  assert.equal(await refusal(bench.client.invokeDeviceMethod('nobody', call)), 'DeviceNotFoundError 404 DeviceNotFound')
})

test('a method call that breaks the rules is 400', async () => {
  await bench.registry.create({ deviceId: 'edge-0042' })
  for (const body of ['{}', '{"methodName":""}', '{"methodName":"x","responseTimeoutInSeconds":301}', '[]', '{'])
    assert.equal((await bench.ask(host, 'POST', `/twins/edge-0042/methods?${VERSION}`, { body })).status, 400, body)
})

test('only a token of a policy of this hub, over this hub, in time, opens the service side', async () => {
  const { cloud } = bench
  const path = `/devices?${VERSION}`
  for (const [what, authorization] of [
    ['none', ''],
    ['garbage', 'SharedAccessSignature x'],
    ['a bearer', 'Bearer abc'],
    ['another key', signFor(cloud, host, { key: KEY })],
    ['an expired one', signFor(cloud, host, { expiresInSeconds: -60 })],
    ['another hub', signFor(cloud, host, { resource: 'hub-2.localhost' })],
    ['another path', signFor(cloud, host, { resource: `${host}/twins` })],
    ['part of a segment', signFor(cloud, host, { resource: `${host}/dev` })],
    ['a policy of DPS', signFor(cloud, bench.cloud.dps.host, { resource: host })],
    ['a policy without the right', signFor(cloud, host, { policy: 'device' })],
  ] as const) {
    const refused = await bench.ask(host, 'GET', path, { authorization })
    assert.equal(refused.status, 401, what)
    assert.equal(refused.headers['iothub-errorcode'], 'IotHubUnauthorizedAccess', what)
    assert.match(refused.text, /^\{"Message":"ErrorCode:IotHubUnauthorizedAccess;/, what)
  }
  for (const resource of [host, host.toUpperCase(), `${host}/devices`])
    assert.equal(
      (await bench.ask(host, 'GET', path, { authorization: signFor(cloud, host, { resource }) })).status,
      200,
    )
})

test('a policy opens what its rights say', async () => {
  await bench.registry.create({ deviceId: 'edge-0042' })
  const status = async (policy: string, method: string, path: string, body?: string) => {
    const authorization = signFor(bench.cloud, host, { policy })
    return (await bench.ask(host, method, `${path}?${VERSION}`, { authorization, ...(body ? { body } : {}) })).status
  }
  assert.equal(await status('registryRead', 'GET', '/devices/edge-0042'), 200)
  assert.equal(await status('registryRead', 'DELETE', '/devices/edge-0042'), 401)
  assert.equal(await status('registryRead', 'GET', '/twins/edge-0042'), 401)
  assert.equal(await status('service', 'GET', '/twins/edge-0042'), 200)
  assert.equal(await status('service', 'PUT', '/devices/x', '{}'), 401)
  assert.equal(await status('registryReadWrite', 'DELETE', '/devices/edge-0042'), 204)
})

test('disableLocalAuth refuses every policy of a hub and none of DPS', async () => {
  bench.cloud.faults.set('disableLocalAuth', 'true')
  assert.equal(await refusal(bench.registry.list()), 'UnauthorizedError 401 IotHubUnauthorizedAccess')
  const query = bench.provisioning.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' })
  assert.equal(await refusal(query.next()), 'accepted')
})

test('broken requests are refused in the form of Azure and the service lives on', async () => {
  const { ask } = bench
  const refused = async (method: string, path: string, options = {}) => (await ask(host, method, path, options)).status
  assert.equal(await refused('PUT', `/devices/edge-0042?${VERSION}`, { body: '{"deviceId":' }), 400)
  assert.equal(await refused('PUT', `/devices/edge-0042?${VERSION}`, { body: '[]' }), 400)
  assert.equal(await refused('PUT', `/devices/edge-0042?${VERSION}`), 400)
  assert.equal(await refused('PUT', `/devices/edge-0042?${VERSION}`, { body: '{"deviceId":"other"}' }), 400)
  assert.equal(await refused('POST', `/devices?${VERSION}`, { body: '{}' }), 400)
  assert.equal(await refused('POST', `/devices/query?${VERSION}`, { body: '{}' }), 400)
  assert.equal(await refused('GET', '/devices'), 400)
  assert.equal(await refused('GET', '/devices?api-version=latest'), 400)
  assert.equal(await refused('GET', `/devices/%E0%A4%A?${VERSION}`), 400)
  assert.equal(await refused('GET', `//?${VERSION}`), 404)
  assert.equal(await refused('GET', `/nothing/here?${VERSION}`), 404)
  assert.equal(await refused('POST', `/devices/edge-0042?${VERSION}`), 404)
  assert.equal(await refused('PUT', `/devices/edge-0042?${VERSION}`, { body: 'x'.repeat(300_000) }), 413)
  const headers = { 'x-ms-continuation': 'bm9uZQ==' }
  assert.equal(
    await refused('POST', `/devices/query?${VERSION}`, { body: '{"query":"SELECT * FROM devices"}', headers }),
    400,
  )
  assert.equal(await refusal(bench.registry.list()), 'accepted')
})

test('each request is recorded with its status', async () => {
  const since = bench.cloud.record.seq()
  await refusal(bench.registry.get('nobody'))
  const events = bench.cloud.record.events(since).filter((event) => event.kind === 'service')
  assert.equal(events.length, 1)
  const [event] = events
  assert.deepEqual(event && { ...event, seq: 0, at: 0 }, {
    ...{ kind: 'service', host, method: 'GET', path: '/devices/nobody', status: 404, seq: 0, at: 0 },
  })
})
