import { refusedTopic } from '../wire/guarded-base.ts'
import type { Delivery } from '../wire/guarded-base.ts'
import type { Wire } from '../wire/wire.ts'
import { CREDENTIALS_FILTER, issueCertificateTopic, parseCredentialTopic } from './credential-topics.ts'
import type { InFlight } from './in-flight.ts'

/** One answer of the hub to a certificate request; there may be several to one, and they may be of an earlier session. */
export interface CredentialAnswer {
  readonly status: number
  /** Of the request that it answers; empty when the topic has none. */
  readonly rid: string
  /** JSON, unchecked. */
  readonly text: string
}

/** Hands in a request; resolves when the hub has acknowledged the message, which says nothing about the request. */
export type RequestCertificate = (rid: string, body: string) => Promise<void>

export interface CredentialTransportOptions {
  /** The open connection. */
  readonly wire: Pick<Wire, 'live' | 'refuse'>
  /** Bounds every step. */
  readonly inFlight: InFlight
}

/** Certificate requests over the SDK's own connection, which has no member for them. */
export interface CredentialTransport {
  /**
   * Subscribes to the answers and waits until the hub has granted that: what is asked before is never answered. Once for
   * a connection; a second listener takes the place of the first.
   *
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER
   */
  open(onAnswer: (answer: CredentialAnswer) => void): Promise<RequestCertificate>
  /** Takes a message under `$iothub/credentials/`. */
  receive(delivery: Delivery): void
}

export function createCredentialTransport({ wire, inFlight }: CredentialTransportOptions): CredentialTransport {
  let listener: ((answer: CredentialAnswer) => void) | undefined
  let subscribed: Promise<void> | undefined

  const subscribe = async () => {
    const granted = Promise.withResolvers<unknown>()
    wire.live().subscribe(CREDENTIALS_FILTER, { qos: 1 }, (error, grants) => {
      if (error === null || error === undefined) granted.resolve(grants)
      else granted.reject(error)
    })
    const refused = refusedTopic(await inFlight.add('subscribing to issued certificates', granted.promise))
    if (refused !== undefined) throw wire.refuse(refused)
  }

  const request: RequestCertificate = (rid, body) => {
    const acknowledged = Promise.withResolvers<void>()
    wire.live().publish(issueCertificateTopic(rid), body, { qos: 1 }, (error) => {
      if (error === null || error === undefined) acknowledged.resolve()
      else acknowledged.reject(error)
    })
    return inFlight.add('asking for a certificate', acknowledged.promise)
  }

  return {
    async open(onAnswer) {
      listener = onAnswer
      subscribed ??= subscribe()
      await subscribed
      return request
    },
    receive({ topic, payload }) {
      const parsed = parseCredentialTopic(topic)
      if (parsed !== undefined) listener?.({ ...parsed, text: payload.toString('utf8') })
    },
  }
}
