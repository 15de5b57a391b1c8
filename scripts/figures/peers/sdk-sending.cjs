/** Sends as fast as the official Node SDK does, one at a time and several on their way; prints counts as one JSON line. */
const { readFileSync } = require('node:fs')
const { randomUUID } = require('node:crypto')
const { Client, Message } = require('azure-iot-device')
const { Mqtt } = require('azure-iot-device-mqtt')
const { DEVICE_ID, CERT_PATH, KEY_PATH, HUB_HOST, BODY, SECONDS } = process.env

async function main() {
  const client = Client.fromConnectionString(`HostName=${HUB_HOST};DeviceId=${DEVICE_ID};x509=true`, Mqtt)
  await client.setOptions({ cert: readFileSync(CERT_PATH, 'utf8'), key: readFileSync(KEY_PATH, 'utf8') })
  await client.open()
  const counts = {}
  for (const [name, onTheirWay] of [
    ['oneAtATime', 1],
    ['twentyOnTheirWay', 20],
    ['hundredOnTheirWay', 100],
  ]) {
    await sendFor(client, onTheirWay, Number(SECONDS) / 4)
    counts[name] = await sendFor(client, onTheirWay, Number(SECONDS))
  }
  console.log(JSON.stringify(counts))
  process.exit(0)
}

async function sendFor(client, onTheirWay, seconds) {
  const from = performance.now()
  const cpuFrom = process.cpuUsage()
  let messages = 0
  const lane = async () => {
    while (performance.now() - from < seconds * 1000) {
      const message = new Message(BODY)
      message.messageId = randomUUID()
      message.contentType = 'application/json'
      message.contentEncoding = 'utf-8'
      await client.sendEvent(message)
      messages += 1
    }
  }
  await Promise.all(Array.from({ length: onTheirWay }, lane))
  const { user, system } = process.cpuUsage(cpuFrom)
  return { messages, seconds: (performance.now() - from) / 1000, cpuSeconds: (user + system) / 1e6 }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
