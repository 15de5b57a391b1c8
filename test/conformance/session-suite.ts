/** A session with a hub, as every official client has to find it. Identities are made with the official service package. */
import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { makeTemporaryFolder } from '../kit/openssl.ts'
import type { Azure } from './azure.ts'
import type { OfficialClient } from './client.ts'
import { strangeAuthority } from './device-authority.ts'
import { refusedAs } from './refused-as.ts'

export function judgeSession(azure: Azure, client: OfficialClient): void {
  it('sends telemetry whose body and properties arrive as they were given, stamped with how it logged in', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await using device = await client.open({ connectionString })
    const body = JSON.stringify({ temperature: 22.5, place: 'Hala č. 5', sign: '&=?%/ +' })
    await device.send({
      body,
      messageId: 'm-1',
      correlationId: 'c-1',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      properties: { level: 'high', 'a key': 'a&b=c/d?é' },
    })
    const message = await azure.telemetry(deviceId, 'm-1')
    assert.equal(message.body.toString(), body)
    assert.deepEqual(message.properties, { level: 'high', 'a key': 'a&b=c/d?é' })
    const { system } = message
    assert.equal(system['correlation-id'], 'c-1')
    assert.equal(system['content-type'], 'application/json')
    assert.equal(system['content-encoding'], 'utf-8')
    assert.equal(system['iothub-connection-device-id'], deviceId)
    assert.deepEqual(JSON.parse(system['iothub-connection-auth-method'] ?? ''), {
      scope: 'device',
      type: 'sas',
      issuer: 'iothub',
    })
  })

  it('sends a message of 200 KB and many small ones at once', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await using device = await client.open({ connectionString })
    const large = 'x'.repeat(200 * 1024)
    await device.send({ body: large, messageId: 'large' })
    assert.equal((await azure.telemetry(deviceId, 'large')).body.length, large.length)
    const ids = Array.from({ length: 100 }, (_, index) => `m-${index}`)
    await Promise.all(ids.map((messageId) => device.send({ body: messageId, messageId })))
    for (const id of ids) assert.equal((await azure.telemetry(deviceId, id)).body.toString(), id)
  })

  it('reads its twin, reports to it, and is told of what is desired', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await azure.registry.updateTwin(deviceId, { tags: { hidden: true }, properties: { desired: { pace: 5 } } }, '*')
    await using device = await client.open({ connectionString })
    const before = await device.twin()
    assert.equal(before.desired['pace'], 5)
    assert.ok(!('tags' in before))
    await device.report({ firmware: { version: '1.0', old: 'x' }, gone: 1 })
    await device.report({ firmware: { old: null, build: 9 }, gone: null })

    const reported = (await azure.registry.getTwin(deviceId)).responseBody.properties.reported as Record<
      string,
      unknown
    >
    assert.deepEqual(reported['firmware'], { version: '1.0', build: 9 })
    assert.ok(!('gone' in reported))
    assert.deepEqual((await device.twin()).reported['firmware'], { version: '1.0', build: 9 })

    await device.listen()
    const version = Number(before.desired['$version'])
    const patched = await azure.registry.updateTwin(deviceId, { properties: { desired: { pace: 6, mode: 'x' } } }, '*')
    assert.deepEqual(await device.nextDesired(version), { pace: 6, mode: 'x', $version: version + 1 })
    assert.equal(patched.responseBody.properties.desired.$version, version + 1)
    await azure.registry.updateTwin(deviceId, { properties: { desired: { mode: null } } }, '*')
    assert.deepEqual(await device.nextDesired(version + 1), { mode: null, $version: version + 2 })
    const { mode, pace } = (await device.twin()).desired
    assert.deepEqual({ mode, pace }, { mode: undefined, pace: 6 })
  })

  it('answers a method that the official service package calls', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await using device = await client.open({ connectionString })
    await device.listen()
    const payload = { afterSeconds: 5, reason: 'č' }
    const calling = azure.methods.invokeDeviceMethod(deviceId, {
      methodName: 'restart',
      payload,
      responseTimeoutInSeconds: 10,
    })
    assert.deepEqual(await device.nextMethod(), { name: 'restart', payload })
    const { result } = await calling
    assert.deepEqual(result, { status: 207, payload: { called: 'restart', with: payload } })
  })

  it('gets messages from the cloud, also those that waited for it', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    azure.hub.sendToDevice(deviceId, 'first', { urgent: 'yes', 'a key': 'a&b=č' })
    await using device = await client.open({ connectionString })
    await device.listen()
    const first = await device.nextMessage()
    assert.equal(first.body, 'first')
    assert.equal(first.properties['urgent'], 'yes')
    assert.equal(first.properties['a key'], 'a&b=č')
    azure.hub.sendToDevice(deviceId, 'second')
    assert.equal((await device.nextMessage()).body, 'second')
  })

  it('renews its token without losing a message or what it subscribed to', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    using arrived = azure.collectMessageIds(deviceId)
    // Both clients renew 120 s before the end: 2 s after this connect.
    await using device = await client.open({ connectionString, tokenSeconds: 122 })
    const { seq } = await azure.connection(deviceId)
    await device.listen()
    const renewed = azure.connection(deviceId, seq).then(() => 'renewed')
    let sent = 0
    do {
      sent += 1
      await device.send({ body: 'x', messageId: `m-${sent}` })
    } while ((await Promise.race([renewed, nextTurn()])) !== 'renewed')
    await device.send({ body: 'x', messageId: 'last' })
    await azure.telemetry(deviceId, 'last')
    await azure.registry.updateTwin(deviceId, { properties: { desired: { pace: 8 } } }, '*')
    assert.equal((await device.nextDesired(1))['pace'], 8)
    const lost = Array.from({ length: sent }, (_, index) => `m-${index + 1}`).filter((id) => !arrived.ids.has(id))
    assert.deepEqual({ lost, sent }, { lost: [], sent })
  })

  it('loses its session when its token ends', async () => {
    const { deviceId, connectionString, primaryKey } = await azure.newDevice()
    const token = makeToken(`${azure.hubHost}/devices/${deviceId}`, primaryKey, Math.floor(Date.now() / 1000) + 5)
    assert.ok(connectionString.includes(primaryKey))
    await using device = await client.open({ token })
    await device.listen()
    await device.send({ body: 'x', messageId: 'm-1' })
    const { reason } = await azure.disconnection(deviceId)
    assert.match(reason, /token/i)
    await device.disconnected()
  })

  it('is put out by a second client of the same name', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await using first = await client.open({ connectionString })
    await first.listen()
    await using second = await client.open({ connectionString })
    await azure.disconnection(deviceId)
    await first.disconnected()
    await second.send({ body: 'second', messageId: 'm-1' })
    assert.equal((await azure.telemetry(deviceId, 'm-1')).body.toString(), 'second')
  })

  it('is refused with a wrong key, an expired token, an unknown or differently written name', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    const open = (text: string, tokenSeconds?: number) =>
      client.open({ connectionString: text, ...(tokenSeconds === undefined ? {} : { tokenSeconds }) })
    const key = randomBytes(32).toString('base64')
    const wrongKey = connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${key}`)
    await refusedAs(client, 'connack', open(wrongKey))
    await azure.refusal(deviceId, /signature/)
    await refusedAs(client, 'connack', open(connectionString, -60))
    await azure.refusal(deviceId, /expired/)
    await refusedAs(client, 'connack', open(connectionString.replace(deviceId, `${deviceId}-unknown`)))
    await refusedAs(client, 'connack', open(connectionString.replace(deviceId, deviceId.toUpperCase())))
    await using device = await open(connectionString)
    await device.send({ body: '{}' })
  })

  it('is refused with a certificate where the identity has a key, and with a key where it has a certificate', async () => {
    const withKey = await azure.newDevice()
    const credential = await azure.authority.makeDevice(withKey.deviceId)
    const host = azure.hubHost
    await refusedAs(client, 'connack', client.open({ host, deviceId: withKey.deviceId, credential }))

    const withCertificate = await azure.newCertificateDevice()
    const { deviceId } = withCertificate
    const key = randomBytes(32).toString('base64')
    const connectionString = `HostName=${host};DeviceId=${deviceId};SharedAccessKey=${key}`
    await refusedAs(client, 'connack', client.open({ connectionString }))
    await refusedAs(
      client,
      'connack',
      client.open({ host, deviceId, credential: await azure.authority.makeDevice(deviceId) }),
    )
    await using device = await client.open({ host, deviceId, credential: withCertificate.credential })
    await device.send({ body: '{}' })
  })

  it('logs in by whatever certificate of its name an authority of the hub has signed, and by no other', async () => {
    const deviceId = azure.newId()
    await azure.registry.create({ deviceId, authentication: { type: 'certificateAuthority' } })
    const host = azure.hubHost
    for (const messageId of ['first', 'second']) {
      await using device = await client.open({ host, deviceId, credential: await azure.authority.makeDevice(deviceId) })
      await device.send({ body: '{}', messageId })
      await azure.telemetry(deviceId, messageId)
    }
    await using folder = await makeTemporaryFolder()
    const stranger = await (await strangeAuthority(folder.path)).makeDevice(deviceId)
    await refusedAs(client, 'connack', client.open({ host, deviceId, credential: stranger }))
    const ofAnother = await azure.authority.makeDevice(azure.newId())
    await refusedAs(client, 'connack', client.open({ host, deviceId, credential: ofAnother }))
  })

  it('is refused while its identity is disabled, and cut when that happens', async () => {
    const { deviceId, connectionString } = await azure.newDevice()
    await using device = await client.open({ connectionString })
    await device.listen()
    await azure.setStatus(deviceId, 'disabled')
    await azure.disconnection(deviceId)
    await device.disconnected()
    await refusedAs(client, 'connack', client.open({ connectionString }))
    await azure.setStatus(deviceId, 'enabled')
    await using again = await client.open({ connectionString })
    await again.send({ body: '{}' })
  })
}

/** A device token as Microsoft's page on shared access signatures writes it. */
function makeToken(resource: string, key: string, expiresAtSeconds: number): string {
  const sr = encodeURIComponent(resource)
  const signature = createHmac('sha256', Buffer.from(key, 'base64'))
    .update(`${sr}\n${expiresAtSeconds}`)
    .digest('base64')
  return `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(signature)}&se=${expiresAtSeconds}`
}
