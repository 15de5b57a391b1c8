/** What the suite asks of every official client, whatever its language and transport. */
import type { DeviceCredential } from '../cloud/authority.ts'

export interface OfficialClient {
  readonly name: string
  /** @throws Refusal */
  register(wish: RegistrationWish): Promise<Registration>
  /** Connects. @throws Refusal */
  open(wish: ConnectionWish): Promise<Device>
  /** How this client says what the service refused: the class that its documentation names, and what its text carries. */
  readonly refusals: Readonly<Record<RefusalKind, { readonly name: string; readonly text: RegExp }>>
}

/**
 * `connack`, `dpsConnack`: return code 4 or 5 to CONNECT. `401`, `404`: the status of a DPS answer. `failed`: a registration that ended so.
 */
export type RefusalKind = 'connack' | 'dpsConnack' | '401' | '404' | 'failed'

export interface RegistrationWish {
  readonly registrationId: string
  readonly proof: { readonly key: string } | DeviceCredential
  readonly idScope?: string
}

/** What DPS said of a finished registration. */
export interface Registration {
  readonly status: string
  readonly substatus: string
  readonly deviceId: string
  readonly assignedHub: string
}

export type ConnectionWish =
  /** `tokenSeconds`: lifetime of the tokens that the client makes; it renews them 120 s before their end. */
  | { readonly connectionString: string; readonly tokenSeconds?: number }
  /** A token that the client did not make and does not renew. */
  | { readonly token: string }
  | { readonly host: string; readonly deviceId: string; readonly credential: DeviceCredential }

export interface Outgoing {
  readonly body: string
  readonly messageId?: string
  readonly correlationId?: string
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly properties?: Readonly<Record<string, string>>
}

export type Properties = Readonly<Record<string, unknown>>

/** One connected device. */
export interface Device extends AsyncDisposable {
  /** Resolves when the hub has acknowledged. */
  send(message: Outgoing): Promise<void>
  twin(): Promise<{ readonly desired: Properties; readonly reported: Properties }>
  report(patch: object): Promise<void>
  /** Subscribes to messages, desired properties and methods; resolves when the hub has them. The method is `restart`. */
  listen(): Promise<void>
  nextMessage(): Promise<{ readonly body: string; readonly properties: Properties }>
  /** The next desired patch above this version. */
  nextDesired(version: number): Promise<Properties>
  /** The next call of `restart`; the client answers it with 207 and `{called, with}`. */
  nextMethod(): Promise<{ readonly name: string; readonly payload: unknown }>
  /** Resolves when the client has told its program that the connection is gone. */
  disconnected(): Promise<void>
}

/** The error of a refused operation, as a test compares it. */
export class Refusal extends Error {
  /** @param name the class that the client raised */
  constructor(name: string, text: string) {
    super(text)
    this.name = name
  }
}
