/**
 * The least that a device does with the official Node SDK, as its samples do it: registers by X.509 unless HUB_HOST says
 * which hub it is, connects, sends, reads the twin and goes on sending.
 */
const { readFileSync } = require('node:fs')
const { Client, Message } = require('azure-iot-device')
const { Mqtt } = require('azure-iot-device-mqtt')
const { DPS_HOST, DPS_ID_SCOPE, DEVICE_ID, CERT_PATH, KEY_PATH, HUB_HOST, TELEMETRY_INTERVAL } = process.env

const credential = { cert: readFileSync(CERT_PATH, 'utf8'), key: readFileSync(KEY_PATH, 'utf8') }

async function register() {
  const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device')
  const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt')
  const { X509Security } = require('azure-iot-security-x509')
  const security = new X509Security(DEVICE_ID, credential)
  const { assignedHub } = await ProvisioningDeviceClient.create(
    DPS_HOST,
    DPS_ID_SCOPE,
    new ProvisioningMqtt(),
    security,
  ).register()
  return assignedHub
}

async function main() {
  const hub = HUB_HOST ?? (await register())
  const client = Client.fromConnectionString(`HostName=${hub};DeviceId=${DEVICE_ID};x509=true`, Mqtt)
  await client.setOptions(credential)
  await client.open()
  const send = async () => {
    const telemetry = { deviceId: DEVICE_ID, temperature: 22.5, humidity: 45, timestamp: new Date().toISOString() }
    const message = new Message(JSON.stringify(telemetry))
    message.contentType = 'application/json'
    message.contentEncoding = 'utf-8'
    await client.sendEvent(message)
  }
  await send()
  const twin = await client.getTwin()
  twin.on('properties.desired', () => undefined)
  setInterval(() => void send().catch(fail), Number(TELEMETRY_INTERVAL) * 1000)
}

function fail(error) {
  console.error(error)
  process.exit(1)
}

main().catch(fail)
