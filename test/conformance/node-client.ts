/** The official Node packages, used as their documentation says; nothing of them is replaced. */
import common from 'azure-iot-common'
import iotDevice from 'azure-iot-device'
import deviceMqtt from 'azure-iot-device-mqtt'
import provisioning from 'azure-iot-provisioning-device'
import provisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import symmetricKey from 'azure-iot-security-symmetric-key'
import x509 from 'azure-iot-security-x509'

import { DPS, ID_SCOPE } from './azure.ts'
import {
  Refusal,
  type ConnectionWish,
  type Device,
  type OfficialClient,
  type Outgoing,
  type Properties,
  type Registration,
  type RegistrationWish,
} from './client.ts'
import { createInbox, type Inbox } from './inbox.ts'

type Client = InstanceType<typeof iotDevice.Client>
type SecurityClient = Parameters<typeof provisioning.ProvisioningDeviceClient.create>[3]

interface Transport {
  readonly name: string
  readonly hub: typeof deviceMqtt.Mqtt
  readonly dps: typeof provisioningMqtt.Mqtt
}

const transports: readonly Transport[] = [
  { name: 'Node, MQTT', hub: deviceMqtt.Mqtt, dps: provisioningMqtt.Mqtt },
  { name: 'Node, MQTT over WebSocket', hub: deviceMqtt.MqttWs, dps: provisioningMqtt.MqttWs },
]

/** The method that the device answers. */
const METHOD = 'restart'

const refusals: OfficialClient['refusals'] = {
  connack: { name: 'UnauthorizedError', text: /Connection refused: (Not authorized|Bad username or password)/ },
  dpsConnack: { name: 'Error', text: /Connection refused: (Not authorized|Bad username or password)/ },
  '401': { name: 'UnauthorizedError', text: /"errorCode":401\d{3}/ },
  '404': { name: 'DeviceNotFoundError', text: /"errorCode":404\d{3}/ },
  // The name that the package's class DeviceRegistrationFailedError gives itself.
  failed: { name: 'ProvisioningRegistrationFailedError', text: /"status":"failed"/ },
}

export const nodeClients: readonly OfficialClient[] = transports.map((transport) => ({
  name: transport.name,
  refusals,
  register: (wish) => register(transport, wish).catch(translate),
  open: (wish) => open(transport, wish).catch(translate),
}))

async function register(transport: Transport, wish: RegistrationWish): Promise<Registration> {
  const { registrationId, proof, idScope = ID_SCOPE } = wish
  const security: SecurityClient =
    'key' in proof
      ? new symmetricKey.SymmetricKeySecurityClient(registrationId, proof.key)
      : new x509.X509Security(registrationId, { cert: proof.chainPem, key: proof.keyPem })
  const client = provisioning.ProvisioningDeviceClient.create(DPS, idScope, new transport.dps(), security)
  return (await client.register()) as unknown as Registration
}

async function open(transport: Transport, wish: ConnectionWish): Promise<Device> {
  const client = await create(transport, wish)
  const inbox = createInbox()
  client.setRetryPolicy(new common.NoRetry())
  client.on('disconnect', () => inbox.put('disconnect', undefined))
  // An error that nobody awaits would end the process.
  client.on('error', (error) => inbox.put('error', error))
  await client.open()
  return deviceOf(client, inbox)
}

async function create(transport: Transport, wish: ConnectionWish): Promise<Client> {
  if ('token' in wish) return iotDevice.Client.fromSharedAccessSignature(wish.token, transport.hub)
  if ('credential' in wish) {
    const { host, deviceId, credential } = wish
    const text = `HostName=${host};DeviceId=${deviceId};x509=true`
    const client = iotDevice.Client.fromConnectionString(text, transport.hub)
    await client.setOptions({ cert: credential.chainPem, key: credential.keyPem })
    return client
  }
  const client = iotDevice.Client.fromConnectionString(wish.connectionString, transport.hub)
  const { tokenSeconds } = wish
  if (tokenSeconds !== undefined) {
    const tokenRenewalMarginInSeconds = Math.min(RENEWAL_MARGIN_SECONDS, tokenSeconds - 1)
    const tokenRenewal = { tokenValidTimeInSeconds: tokenSeconds, tokenRenewalMarginInSeconds }
    await client.setOptions({ tokenRenewal })
  }
  return client
}

/** As Microsoft's Python client has it, so that one test fits both; the package asks that it be below the lifetime. */
const RENEWAL_MARGIN_SECONDS = 120

function deviceOf(client: Client, inbox: Inbox): Device {
  const properties = async () => (await client.getTwin()).properties as unknown as TwinProperties
  return {
    send: (message) => client.sendEvent(messageOf(message)).then(() => undefined, translate),
    async twin() {
      const { desired, reported } = await properties()
      return { desired: plain(desired), reported: plain(reported) }
    },
    async report(patch) {
      const { reported } = await properties()
      await new Promise<void>((resolve, reject) => {
        reported.update(patch, (error) => (error ? reject(error) : resolve()))
      })
    },
    async listen() {
      client.on('message', (message) => {
        const list = (message.properties.propertyList as readonly Pair[]).map(({ key, value }) => [key, value])
        inbox.put('message', { body: message.getData().toString(), properties: Object.fromEntries(list) as Properties })
      })
      const twin = await client.getTwin()
      twin.on('properties.desired', (patch: Properties) => inbox.put('desired', plain(patch)))
      client.onDeviceMethod(METHOD, (request, response) => {
        inbox.put('method', { name: request.methodName, payload: request.payload as unknown })
        response.send(207, { called: request.methodName, with: request.payload as unknown }, (error) => {
          if (error) inbox.put('error', error)
        })
      })
      // What the client asked before this was handled before this: one connection, one order.
      await client.getTwin()
    },
    nextMessage: () => inbox.next('message') as ReturnType<Device['nextMessage']>,
    async nextDesired(version) {
      for (;;) {
        const patch = (await inbox.next('desired')) as Properties
        if (Number(patch['$version']) > version) return patch
      }
    },
    nextMethod: () => inbox.next('method') as ReturnType<Device['nextMethod']>,
    disconnected: () => inbox.next('disconnect').then(() => undefined),
    async [Symbol.asyncDispose]() {
      await client.close()
    },
  }
}

interface Pair {
  readonly key: string
  readonly value: string
}

interface TwinProperties {
  readonly desired: Properties
  readonly reported: Properties & { update(patch: object, done: (error?: Error) => void): void }
}

/** Without the functions that the package puts beside the properties. */
function plain(properties: Properties): Properties {
  return JSON.parse(JSON.stringify(properties)) as Properties
}

function messageOf({ body, properties = {}, ...system }: Outgoing) {
  const message = Object.assign(new iotDevice.Message(body), system)
  for (const [key, value] of Object.entries(properties)) message.properties.add(key, value)
  return message
}

function translate(cause: unknown): never {
  if (!(cause instanceof Error)) throw new Error(`not an Error was thrown: ${String(cause)}`)
  const { result } = cause as { result?: unknown }
  throw new Refusal(cause.name, `${cause.message} ${result === undefined ? '' : JSON.stringify(result)}`)
}
