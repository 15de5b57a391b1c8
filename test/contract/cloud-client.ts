/** A client for the tests of the stand-in: TLS or WebSocket, and MQTT packets one at a time, good and bad ones. */
import { readFile } from 'node:fs/promises'
import mqttPacket, { type IConnackPacket, type IPublishPacket, type ISubackPacket, type Packet } from 'mqtt-packet'
import type { Duplex } from 'node:stream'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { createWebSocketStream, WebSocket } from 'ws'

import { lookup } from '../../agent/system/loopback.ts'
import type { Cloud } from '../cloud/cloud.ts'

export interface WireClient extends AsyncDisposable {
  send(packet: Packet): void
  sendBytes(bytes: Buffer): void
  /** The next packet from the server; rejects when the connection ends first. */
  next(): Promise<Packet>
  /** Resolves when the connection is over, with how many packets were still unread. */
  readonly closed: Promise<number>
  /** Drops the connection without DISCONNECT. */
  drop(): void
}

export interface Dial {
  /** Endpoint and name of SNI. */
  readonly host: string
  readonly credential?: { readonly chainPem: string; readonly keyPem: string }
  readonly tls?: ConnectionOptions
}

/** How long a test waits for a packet before it fails, in milliseconds. */
const GUARD_MS = 5_000

export async function dial(cloud: Cloud, { host, credential, tls = {} }: Dial): Promise<WireClient> {
  const stream = connectTls({
    ...{ host, servername: host, lookup, port: cloud.port, ca: await readFile(cloud.caFile) },
    ...(credential === undefined ? {} : { cert: credential.chainPem, key: credential.keyPem }),
    ...tls,
  })
  await opened(stream, 'secureConnect')
  return speak(stream)
}

export async function dialWebSocket(
  cloud: Cloud,
  { host, credential, path = '/$iothub/websocket', protocol = 'mqtt' }: Dial & { path?: string; protocol?: string },
): Promise<WireClient & { readonly socket: WebSocket }> {
  const socket = new WebSocket(`wss://${host}:${cloud.httpsPort}${path}`, protocol, {
    ...{ lookup, ca: await readFile(cloud.caFile) },
    ...(credential === undefined ? {} : { cert: credential.chainPem, key: credential.keyPem }),
  })
  await opened(socket, 'open')
  return { ...speak(createWebSocketStream(socket)), socket }
}

/** Waits for `event`; an error before it is the outcome. */
function opened(
  emitter: { once(event: string, done: (error?: unknown) => void): unknown },
  event: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once(event, () => resolve())
    emitter.once('error', (error) => reject(error))
  })
}

/** MQTT over any stream. */
export function speak(stream: Duplex): WireClient {
  const unread: Packet[] = []
  const readers: { resolve: (packet: Packet) => void; reject: (error: Error) => void }[] = []
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  let isOver = false
  parser.on('packet', (packet: Packet) => {
    const reader = readers.shift()
    if (reader === undefined) unread.push(packet)
    else reader.resolve(packet)
  })
  stream.on('data', (chunk: Buffer) => parser.parse(chunk))
  stream.on('end', () => stream.destroy())
  // A reset is one of the ends that tests look for; `close` follows it.
  stream.on('error', () => undefined)
  const closed = new Promise<number>((resolve) => {
    stream.on('close', () => {
      isOver = true
      for (const { reject } of readers.splice(0)) reject(new Error('the connection ended'))
      resolve(unread.length)
    })
  })
  return {
    send: (packet) => void stream.write(mqttPacket.generate(packet)),
    sendBytes: (bytes) => void stream.write(bytes),
    next() {
      const packet = unread.shift()
      if (packet !== undefined) return Promise.resolve(packet)
      if (isOver) return Promise.reject(new Error('the connection ended'))
      return new Promise<Packet>((resolve, reject) => {
        const guard = setTimeout(() => reject(new Error(`no packet within ${GUARD_MS} ms`)), GUARD_MS)
        readers.push({
          resolve(packet) {
            clearTimeout(guard)
            resolve(packet)
          },
          reject(error) {
            clearTimeout(guard)
            reject(error)
          },
        })
      })
    },
    closed,
    drop: () => void stream.destroy(),
    async [Symbol.asyncDispose]() {
      stream.destroy()
      await closed
    },
  }
}

export interface Greeting extends Dial {
  readonly clientId?: string
  readonly deviceId: string
  readonly username?: string
  readonly password?: string
  readonly clean?: boolean
  readonly keepalive?: number
  readonly will?: { readonly topic: string; readonly payload: string; readonly qos: 0 | 1 | 2 }
  readonly apiVersion?: string
}

/** Says CONNECT to a hub and gives back the answer. */
export async function greet(client: WireClient, greeting: Greeting): Promise<IConnackPacket> {
  const { host, deviceId, apiVersion = '2021-04-12' } = greeting
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: greeting.clientId ?? deviceId,
    username: greeting.username ?? `${host}/${deviceId}/?api-version=${apiVersion}`,
    clean: greeting.clean ?? true,
    keepalive: greeting.keepalive ?? 0,
    ...(greeting.password === undefined ? {} : { password: Buffer.from(greeting.password) }),
    ...(greeting.will === undefined ? {} : { will: { ...greeting.will, retain: false } }),
  })
  return expectPacket(await client.next(), 'connack')
}

/** A connected device. */
export async function connectDevice(cloud: Cloud, greeting: Omit<Greeting, 'host'> & { readonly host?: string }) {
  const full: Greeting = { host: cloud.hub.host, ...greeting }
  const client = await dial(cloud, full)
  const connack = await greet(client, full)
  return { ...client, connack }
}

/** Subscribes and gives back what was granted. */
export async function subscribe(client: WireClient, filters: readonly string[], qos: 0 | 1 | 2 = 1) {
  client.send({ cmd: 'subscribe', messageId: 77, subscriptions: filters.map((topic) => ({ topic, qos })) })
  const suback: ISubackPacket = expectPacket(await client.next(), 'suback')
  return suback.granted
}

export function publication(
  topic: string,
  payload: string | Buffer,
  qos: 0 | 1 | 2 = 0,
  messageId = 5,
): IPublishPacket {
  return { cmd: 'publish', topic, payload, qos, dup: false, retain: false, ...(qos === 0 ? {} : { messageId }) }
}

/** The packet as the kind that it has to be. */
export function expectPacket<C extends Packet['cmd']>(packet: Packet, cmd: C): Extract<Packet, { cmd: C }> {
  if (packet.cmd !== cmd) throw new Error(`${cmd} was due, ${packet.cmd} came: ${JSON.stringify(packet)}`)
  return packet as Extract<Packet, { cmd: C }>
}

/** The next packet as a publish, its payload as text. */
export async function nextPublish(client: WireClient) {
  const packet = expectPacket(await client.next(), 'publish')
  return { topic: packet.topic, qos: packet.qos, dup: packet.dup, id: packet.messageId, text: String(packet.payload) }
}
