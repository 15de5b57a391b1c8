/**
 * The vocabulary of the stand-in: what its parts say to each other.
 *
 *   wire/     TLS, SNI, WebSocket, MQTT 3.1.1 framing, keep-alive, sessions; knows no Azure rule
 *   dps/      one Endpoint: attestation, enrollments, registration
 *   hub/      one Endpoint per hub: identities, D2C, C2D, methods, twin
 *   adr/      what certificate management issues: policies, requests, chains
 *   service/  the REST side of both, over TLS
 *   cloud.ts  joins them
 */
import type { X509Certificate } from 'node:crypto'

/** Why a server of MQTT 3.1.1 says no: the return codes of CONNACK, section 3.2.2.3 of the standard. */
export type ReturnCode = 1 | 2 | 3 | 4 | 5

/** What a client said in CONNECT, and what its TLS handshake showed. */
export interface Hello {
  readonly clientId: string
  readonly username: string
  /** UTF-8 text of the password; empty when absent. */
  readonly password: string
  readonly clean: boolean
  readonly keepaliveSeconds: number
  readonly will: { readonly topic: string; readonly payload: Buffer; readonly qos: number } | undefined
  /** Host of the SNI extension, lower case; empty without SNI. */
  readonly serverName: string
  /** As presented: leaf first. Empty when the client sent none. Nothing in it was verified by TLS. */
  readonly chain: readonly X509Certificate[]
  readonly transport: 'mqtt' | 'websocket'
}

export type Verdict =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly returnCode: ReturnCode; readonly reason: string }

/** One accepted connection, as an endpoint sees it. */
export interface Link {
  readonly id: number
  readonly hello: Hello
  /** Sends if a subscription of the session matches; at the granted QoS, never above `qos`. False when none matches. */
  send(
    topic: string,
    payload: string | Buffer,
    qos: 0 | 1,
    onAcknowledged?: () => void,
    /** The session that held the message ended, and it was not acknowledged. */
    onLost?: () => void,
  ): boolean
  /** Cuts the connection; 3.1.1 gives a server no other way to say no. `reason` goes to the record. */
  cut(reason: string): void
}

/** A publish from a client, after framing and before any Azure rule. */
export interface Incoming {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: boolean
}

/** A service behind one host name. */
export interface Endpoint {
  readonly kind: 'dps' | 'hub'
  readonly host: string
  /** Whether sessions with clean=0 outlive their connection (hub yes, DPS no). */
  readonly keepsSessions: boolean
  /** Largest number of filters in one session. */
  readonly maxFilters: number
  /** Largest MQTT packet with its header; a larger one closes the connection before it is read. */
  readonly maxPacketBytes?: number
  authorize(hello: Hello): Promise<Verdict> | Verdict
  /** After CONNACK 0. */
  opened(link: Link): void
  /** Whether this topic filter exists for this device. */
  permits(link: Link, filter: string): boolean
  /** After SUBACK, for whatever was waiting. */
  subscribed(link: Link, filter: string): void
  /** Why this publish closes the connection instead of being acknowledged; undefined when it is good so far. */
  rejects?(link: Link, message: Incoming): string | undefined
  /**
   * Called after the PUBACK of a QoS 1 publish was sent, unless `delaysAcknowledgement` says otherwise.
   * A rule that the client broke ends in `link.cut(reason)`.
   */
  received(link: Link, message: Incoming): Promise<void> | void
  /** Milliseconds by which the PUBACK of this publish is held back (traffic shaping); 0 usually. */
  acknowledgementDelayMs(link: Link, message: Incoming): number
  /** The connection is over; `willDue` when it ended without DISCONNECT. */
  closed(link: Link, willDue: boolean): void
  /** About twice a second, for whatever ends by time. */
  tick?(nowMs: number): void
}

export type AuthType = 'sas' | 'selfSigned' | 'certificateAuthority' | 'none'

/** A device identity of a hub, in the words of its registry. */
export interface Identity {
  deviceId: string
  generationId: string
  etag: string
  status: 'enabled' | 'disabled'
  statusReason: string
  authentication: {
    type: AuthType
    symmetricKey: { primaryKey: string | null; secondaryKey: string | null }
    /** Hexadecimal, upper case, SHA-1 or SHA-256. */
    x509Thumbprint: { primaryThumbprint: string | null; secondaryThumbprint: string | null }
  }
}

/** What DPS writes into a hub at every successful registration. */
export type IdentityCredential =
  | { readonly type: 'sas'; readonly primaryKey: string; readonly secondaryKey: string }
  | { readonly type: 'selfSigned'; readonly primaryThumbprint: string; readonly secondaryThumbprint: string }
  | { readonly type: 'certificateAuthority' }

export interface InitialTwin {
  readonly tags?: Record<string, unknown>
  readonly properties?: { readonly desired?: Record<string, unknown> }
}

/** The door of a hub through which DPS assigns devices. */
export interface HubRegistry {
  readonly host: string
  has(deviceId: string): boolean
  /** Creates the identity or replaces its credential; live sessions suffer as the fault `identityChange` says. */
  assign(deviceId: string, credential: IdentityCredential, initialTwin: InitialTwin | undefined): void
  /** Twin and identity leave this hub; what the next hub needs comes back. */
  release(deviceId: string): { tags: Record<string, unknown>; desired: Record<string, unknown> } | undefined
}

/** What happened, for tests, logs and the demo. Newest last. */
export type CloudEvent =
  | {
      readonly kind: 'connected'
      readonly host: string
      readonly clientId: string
      readonly auth: 'sas' | 'x509' | 'none'
      readonly thumbprint: string
    }
  | { readonly kind: 'disconnected'; readonly host: string; readonly clientId: string; readonly reason: string }
  | { readonly kind: 'refused'; readonly host: string; readonly clientId: string; readonly reason: string }
  | {
      readonly kind: 'registered'
      readonly host: string
      readonly registrationId: string
      readonly assignedHub: string
      readonly enrollment: string
    }
  /** A credential policy made a certificate; `host` is the DPS or hub that the device asked. */
  | {
      readonly kind: 'issued'
      readonly host: string
      readonly deviceId: string
      readonly policy: string
      /** SHA-256, hexadecimal, upper case. */
      readonly thumbprint: string
      readonly notAfterMs: number
    }
  /** An answer of the renewal over the hub; `errorCode` is 0 when it is none. `isHeard` unless no subscription took it. */
  | {
      readonly kind: 'credentials'
      readonly host: string
      readonly deviceId: string
      readonly rid: string
      readonly status: number
      readonly errorCode: number
      readonly isHeard: boolean
    }
  | { readonly kind: 'telemetry'; readonly host: string; readonly message: Telemetry }
  | {
      readonly kind: 'reported'
      readonly host: string
      readonly deviceId: string
      readonly version: number
      readonly patch: Record<string, unknown>
    }
  | {
      readonly kind: 'service'
      readonly host: string
      readonly method: string
      readonly path: string
      readonly status: number
    }

/** One D2C message as the hub's event endpoint shows it. */
export interface Telemetry {
  readonly deviceId: string
  readonly body: Buffer
  readonly properties: Readonly<Record<string, string | null>>
  readonly system: Readonly<Record<string, string>>
  readonly enqueuedAt: number
}

/** A refusal of the service side, in Azure's form: HTTP status and the code that goes with it. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly status: number
  readonly code: number

  /** @param code Azure's extended error code, as 404001 */
  constructor(code: number, message: string) {
    super(message)
    this.code = code
    this.status = Math.floor(code / 1000)
  }
}

/** A device twin as the service side sees it; the device sees only `properties`, without metadata. */
export interface TwinState {
  tags: Record<string, unknown>
  desired: Record<string, unknown>
  desiredVersion: number
  reported: Record<string, unknown>
  reportedVersion: number
  version: number
  etag: string
}

export interface MethodCall {
  readonly name: string
  readonly payload: unknown
  /** Seconds the device has for its answer. */
  readonly responseTimeoutSeconds: number
}

/** One IoT Hub: the device side is `Endpoint`, the rest is what its service side can do. */
export interface Hub extends Endpoint, HubRegistry {
  identities(): readonly Identity[]
  identity(deviceId: string): Identity | undefined
  /** Creates or replaces; a live session feels the change as the fault `identityChange` says, a disabled one is cut. */
  putIdentity(identity: Identity): void
  /** Deletes identity and twin and cuts the session. */
  removeIdentity(deviceId: string): void
  isConnected(deviceId: string): boolean
  twin(deviceId: string): TwinState | undefined
  /**
   * Merge patch from the service side; a connected device that subscribed gets the desired part pushed.
   *
   * @throws ServiceError 400xxx for a broken limit, 404001 for an unknown device
   */
  patchTwin(
    deviceId: string,
    patch: { tags?: Record<string, unknown>; desired?: Record<string, unknown> },
    replace?: boolean,
  ): TwinState
  /** @throws ServiceError 404103 when the device is not connected, 504101 when it does not answer in time */
  invokeMethod(deviceId: string, call: MethodCall): Promise<{ status: number; payload: unknown }>
  /** @throws ServiceError 403004 when 50 messages wait, 404001 for an unknown device */
  sendToDevice(deviceId: string, body: string | Buffer, properties?: Record<string, string>): void
}

/** Where every part writes what happened. */
export interface Recorder {
  add(event: CloudEvent): void
}
