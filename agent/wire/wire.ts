import { connect as connectTls } from 'node:tls'
import type { SecureContext, TLSSocket } from 'node:tls'
import mqtt from 'mqtt'
import type { IClientOptions, MqttClient } from 'mqtt'
import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { lookup } from '../system/loopback.ts'
import type { Address } from './address.ts'
import { diagnose, failureOf } from './diagnose.ts'
import type { Evidence, Phase } from './diagnose.ts'
import { GuardedBase } from './guarded-base.ts'
import type { Delivery } from './guarded-base.ts'

export interface WireOptions {
  readonly endpoint: 'dps' | 'hub'
  readonly address: Address
  readonly context: SecureContext
  readonly keepAliveSeconds: number
  readonly clock: Clock
  /** Sees every message before the SDK does; what it returns is what the SDK sees, undefined hides the message. */
  readonly receive: (delivery: Delivery) => Delivery | undefined
  /** Of the service, in place of the one that the SDK asks for. */
  readonly apiVersion?: string
  /** What goes out in place of a message of the SDK, which knows no previews; the message itself when left out. */
  readonly send?: (topic: string, payload: unknown) => unknown
}

/** Facts about the server of an open connection. */
export interface Peer {
  readonly address: string
  readonly tlsVersion: string
  readonly cipher: string
}

/** One MQTT connection from its first DNS query to its last byte; `base` is what the SDK transports are given. */
export interface Wire {
  readonly base: GuardedBase
  /** Resolves when no socket is left. Never rejects. */
  readonly closed: Promise<void>
  /** How far the connection came and what went wrong first, at any time. */
  evidence(): Evidence
  /** Why it failed. `cause` is what the SDK says: it counts when it is ours, or when no connection was ever tried. */
  failure(cause?: unknown): Failure
  /** What a passed deadline of ours means at the point where the connection is. */
  lateness(cause: Failure): Failure
  /**
   * The MQTT client under the SDK.
   *
   * @throws Failure UNEXPECTED before the SDK has connected
   */
  live(): MqttClient
  /** @throws Failure UNEXPECTED before the SDK has connected */
  peer(): Peer
  /** The error of a subscription that was not granted. */
  refuse(topic: string): Failure
  /** Says DISCONNECT and closes; what has not gone after `withinMs` is cut. Resolves when no socket is left. */
  leave(withinMs: number): Promise<void>
  /** Destroys the socket at once. A later `connect` of the SDK is refused. */
  kill(): void
}

/** The packet DISCONNECT. Source: MQTT 3.1.1 section 3.14. */
const DISCONNECT = Buffer.from([0xe0, 0x00])

/**
 * Time for one address before the next one of the same name is tried, in milliseconds. Node's 250 ms are less than one
 * round trip over satellite or 2G.
 */
const NEXT_ADDRESS_AFTER_MS = 3_000

/** mqtt.js's own limit for CONNACK. Deadlines are ours; this one only backs them up. */
const CONNACK_BACKSTOP_MS = 180_000

/** Prepares one connection; it starts when the SDK calls `base.connect`. */
export function createWire(options: WireOptions): Wire {
  const closed = Promise.withResolvers<void>()
  let phase: Phase = 'resolving'
  let error: unknown
  let peerEnded = false
  let killed = false
  let live: MqttClient | undefined
  let socket: TLSSocket | undefined

  const reach = (next: Phase) => {
    if (error === undefined) phase = next
  }
  const blame = (cause: unknown) => {
    error ??= cause
  }
  const start = (sdkOptions: IClientOptions) => {
    if (killed) throw new Error('this connection was closed before it started')
    const client = new mqtt.MqttClient(
      () => {
        socket = openSocket(options)
        socket.on('lookup', (cause) => (cause === null || cause === undefined ? reach('connecting') : undefined))
        socket.on('connect', () => reach('securing'))
        socket.on('secureConnect', () => reach('greeting'))
        socket.on('end', () => {
          peerEnded = true
        })
        socket.on('error', blame)
        return socket
      },
      mqttOptions(sdkOptions, options),
    )
    client.on('error', blame)
    client.on('connect', () => reach('open'))
    client.on('close', () => closed.resolve())
    live = client
    return client
  }

  const refuse = (topic: string) => {
    const code = options.endpoint === 'dps' ? 'DPS_REFUSED_TOPIC' : 'HUB_REFUSED_TOPIC'
    return new Failure(code, `${options.address.host} refused the subscription to ${topic}`)
  }
  const failure = (cause?: unknown) => {
    if (cause instanceof Failure) return cause
    if (error instanceof Failure) return error
    return live === undefined && cause !== undefined ? asFailure(cause) : failureOf(evidence())
  }
  const evidence = (): Evidence => ({
    endpoint: options.endpoint,
    host: options.address.host,
    port: options.address.port,
    phase,
    ...(error === undefined ? {} : { error }),
    // Nobody ended it and nothing failed: a timer of mqtt.js did, for CONNACK or for an unanswered ping.
    silent: error === undefined && !peerEnded,
  })
  const kill = () => {
    killed = true
    if (socket === undefined) closed.resolve()
    else socket.destroy()
  }
  // Thrown from here it would pass through mqtt.js and end the process, whatever the message was.
  const receive = (delivery: Delivery) => {
    try {
      return options.receive(delivery)
    } catch (cause) {
      blame(asFailure(cause))
      kill()
      return undefined
    }
  }
  const send = options.send ?? ((_topic: string, payload: unknown) => payload)
  return {
    base: new GuardedBase({ connect: start, receive, refuse, send }),
    refuse,
    closed: closed.promise,
    live: () => live ?? notYet(),
    kill,
    evidence,
    failure,
    lateness: (cause) => new Failure(diagnose({ ...evidence(), silent: true }), cause.message, { cause }),
    peer: () => peerOf(socket ?? notYet()),
    async leave(withinMs) {
      const over = new AbortController()
      if (phase === 'open' && socket?.writable === true) {
        socket.end(DISCONNECT)
        const late = options.clock.wait(withinMs, over.signal).catch(() => undefined)
        await Promise.race([closed.promise, late])
        over.abort()
      }
      kill()
      await closed.promise
    },
  }
}

/** What the SDK decides is kept; the key, the timers and the retries are not its business. */
function mqttOptions(sdkOptions: IClientOptions, options: WireOptions): IClientOptions {
  return {
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: sdkOptions.clean ?? false,
    clientId: sdkOptions.clientId ?? '',
    username: withApiVersion(sdkOptions.username ?? '', options.apiVersion),
    ...(sdkOptions.password === undefined ? {} : { password: sdkOptions.password }),
    keepalive: options.keepAliveSeconds,
    reschedulePings: false,
    reconnectPeriod: 0,
    connectTimeout: CONNACK_BACKSTOP_MS,
  }
}

/** Source: azure-protocols, 1.1 and 4.1: `…api-version={version}&…`. */
function withApiVersion(username: string, apiVersion: string | undefined): string {
  return apiVersion === undefined ? username : username.replace(/api-version=[^&]*/, `api-version=${apiVersion}`)
}

function openSocket(options: WireOptions): TLSSocket {
  const { host, port } = options.address
  const toAddress = {
    host,
    port,
    servername: host,
    lookup,
    secureContext: options.context,
    // Said, because the environment (NODE_TLS_REJECT_UNAUTHORIZED=0) decides where nothing is said.
    rejectUnauthorized: true,
    // Without it each small packet may wait 40 ms and more for the acknowledgement of the one before.
    noDelay: true,
    autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_AFTER_MS,
  }
  return connectTls(toAddress)
}

function peerOf(socket: TLSSocket): Peer {
  return {
    address: socket.remoteAddress ?? '',
    tlsVersion: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.name ?? '',
  }
}

function notYet(): never {
  throw new Failure('UNEXPECTED', 'the SDK has not connected yet')
}
