import { asFailure, Failure } from '../failure.ts'
import type { JsonObject } from '../system/json.ts'
import { parseAddress } from '../wire/address.ts'
import { loadTlsIdentity } from '../wire/credential.ts'
import type { Presented } from '../wire/credential.ts'
import type { Delivery } from '../wire/guarded-base.ts'
import type { SasToken } from '../wire/sas-token.ts'
import { createWire } from '../wire/wire.ts'
import type { Peer, Wire } from '../wire/wire.ts'
import { CREDENTIAL_PREFIXES } from './credential-topics.ts'
import { createCredentialTransport } from './credential-transport.ts'
import type { CredentialAnswer, RequestCertificate } from './credential-transport.ts'
import { createDesiredCopy } from './desired.ts'
import { createGate } from './gate.ts'
import { createInFlight } from './in-flight.ts'
import { toSdkMessage } from './message.ts'
import type { OutgoingMessage } from './message.ts'
import { METHOD_PREFIX } from './method-topics.ts'
import { createMethodTransport } from './method-transport.ts'
import type { AnswerMethod } from './method-transport.ts'
import { readyForRenewal } from './renewal.ts'
import { openSdkClient } from './sdk-client.ts'
import type { SdkClientOptions } from './sdk-client.ts'
import type { Twin, TwinDocument } from './twin-document.ts'
import { TWIN_PREFIX } from './twin-topics.ts'
import { createTwinTransport } from './twin-transport.ts'

export type { OutgoingMessage } from './message.ts'
export type { AnswerMethod, MethodCall, MethodReply } from './method-transport.ts'
export type { Twin, TwinDocument } from './twin-document.ts'

export interface SessionOptions extends SdkClientOptions {
  /** `name` or `name:port` of the assigned hub. */
  readonly host: string
  /** PEM of the only roots to trust; without it, the roots that the runtime brings. */
  readonly ca?: string
  /** Of the hub, in place of the one that the SDK asks for: a preview knows more. */
  readonly apiVersion?: string
  /** 30 to 45 s let a half-open connection be noticed within 90 s: twice this. */
  readonly keepAliveSeconds: number
  /**
   * The whole desired part with its `$version`, after every change that follows the first `readTwin`. Arrays replace,
   * null deletes, what was missed is read again.
   */
  readonly onDesired?: (desired: TwinDocument) => void
  /** A failure that the session mends by itself: the twin could not be read again and is asked for once more. */
  readonly onTrouble?: (failure: Failure) => void
  /** Uniform in [0, 1). */
  readonly random?: () => number
}

/**
 * One connection to the hub, from CONNACK to its end. It never reconnects: on the lane `sas` it ends itself with
 * SESSION_RENEWED well before its token does, once everything that is on its way has been answered. What is asked of it
 * from then on waits for the end and fails with it.
 */
export interface Session extends AsyncDisposable {
  readonly host: string
  readonly deviceId: string
  /** What the session has shown of itself when it connected. */
  readonly presented: Presented
  readonly peer: Peer
  /**
   * Resolves with the diagnosis when the connection is over, SESSION_CLOSED when that was our wish and SESSION_RENEWED
   * when it is time for a new token. Never rejects.
   */
  readonly ended: Promise<Failure>
  /** @throws Failure TWIN_REFUSED, TWIN_MALFORMED, HUB_REFUSED_TOPIC, HUB_NO_ANSWER, or that of `ended` */
  readTwin(): Promise<Twin>
  /**
   * Merges into the reported part: null deletes. Resolves when the hub has taken it.
   *
   * @throws Failure TWIN_REFUSED, HUB_NO_ANSWER, or that of `ended`
   */
  report(patch: JsonObject): Promise<void>
  /**
   * Has direct methods answered from now on, four at a time and each within 25 s; once for a session. Resolves when the
   * hub has granted it, which a hub of the basic tier does not.
   *
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER, or that of `ended`
   */
  serveMethods(answer: AnswerMethod): Promise<void>
  /**
   * Has the answers to certificate requests heard from now on, and gives the way to hand one in (a preview).
   *
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER, or that of `ended`
   */
  openCredentials(onAnswer: (answer: CredentialAnswer) => void): Promise<RequestCertificate>
  /**
   * Resolves when the hub has acknowledged the message. One that stays unacknowledged ends the session: only a new
   * connection can send it again. How many are sent at a time is for the caller to bound.
   *
   * @throws Failure MESSAGE_REFUSED, HUB_NO_ANSWER, or that of `ended`
   */
  send(message: OutgoingMessage): Promise<void>
}

/** Traffic shaping of the hub delays a PUBACK, but not for this long. */
const SEND_WITHIN_MS = 60_000

const TWIN_WITHIN_MS = 30_000

/** Time for DISCONNECT and the close that answers it, in milliseconds. */
const LEAVE_MS = 500

/**
 * Opens one MQTT 3.1.1 connection over TLS through the official device client; resolves when the hub has answered
 * CONNACK. The client is used for this one connection and thrown away.
 *
 * @throws Failure TLS_LOCAL_CREDENTIAL before anything is sent; NETWORK_…, TLS_…, HUB_… as diagnosed
 * @throws signal.reason when aborted; no socket is left by then
 */
export async function openSession(options: SessionOptions, signal?: AbortSignal): Promise<Session> {
  signal?.throwIfAborted()
  const address = parseAddress(options.host)
  if (address === undefined) throw new Failure('CONFIG_INVALID', `the assigned hub is not a host name: ${options.host}`)
  const { clock, deviceId, random = Math.random } = options
  const identity = loadTlsIdentity(options.credential, options.ca)
  const over = new AbortController()
  let reason: Failure | undefined

  const endBecause = (failure: Failure) => {
    reason ??= failure
    wire.kill()
  }
  const sends = createInFlight({ clock, withinMs: SEND_WITHIN_MS, onLate: endBecause }, over.signal)
  const requests = createInFlight({ clock, withinMs: TWIN_WITHIN_MS }, over.signal)
  const wire: Wire = createWire({
    endpoint: 'hub',
    address,
    context: identity.context,
    keepAliveSeconds: options.keepAliveSeconds,
    clock,
    receive: (delivery) => receive(delivery),
    ...(options.apiVersion !== undefined && { apiVersion: options.apiVersion }),
  })
  const onTrouble = (failure: Failure) => options.onTrouble?.(failure)
  const twin = createTwinTransport({ wire, inFlight: requests, onPatch: (patch) => copy.take(patch) })
  const copy = createDesiredCopy(
    {
      read: () => twin.get(),
      clock,
      random,
      onDesired: (desired) => options.onDesired?.(desired),
      onTrouble,
    },
    over.signal,
  )
  const methods = createMethodTransport({ wire, inFlight: requests, clock, onTrouble }, over.signal)
  const credentials = createCredentialTransport({ wire, inFlight: requests })
  // Nothing else is subscribed. A session that the hub kept may still hold topics of another client: not for the SDK.
  const receive = ({ topic, payload }: Delivery): undefined => {
    if (topic.startsWith(TWIN_PREFIX)) twin.receive({ topic, payload })
    if (CREDENTIAL_PREFIXES.some((prefix) => topic.startsWith(prefix))) credentials.receive({ topic, payload })
    if (topic.startsWith(METHOD_PREFIX)) methods.receive({ topic, payload })
  }

  const { client, token } = await openSdkClient(options, address.host, wire, signal)
  const ended = wire.closed.then(() => {
    const failure = reason ?? wire.failure()
    over.abort()
    sends.failAll(failure)
    requests.failAll(failure)
    return failure
  })
  const gate = createGate(ended)
  const renew = async (present: SasToken) => {
    const renewed = await readyForRenewal(present, gate, { clock, random, host: address.host }, over.signal)
    reason ??= renewed
    await wire.leave(LEAVE_MS)
  }
  if (token !== undefined) {
    renew(token).catch((error: unknown) => {
      if (!over.signal.aborted) endBecause(asFailure(error))
    })
  }
  return {
    host: options.host,
    deviceId,
    presented: identity.presented,
    peer: wire.peer(),
    ended,
    readTwin: () =>
      gate.pass(async () => {
        await twin.subscribe()
        return copy.load()
      }),
    report: (patch) =>
      gate.pass(async () => {
        await twin.patchReported(patch)
      }),
    serveMethods: (answer) => gate.pass(() => methods.serve(answer, gate)),
    openCredentials: (onAnswer) => gate.pass(() => credentials.open(onAnswer)),
    send: (message) =>
      gate.pass(async () => {
        const acknowledged = client.sendEvent(toSdkMessage(message)).catch((cause: unknown) => {
          throw reason ?? wire.failure(cause)
        })
        await sends.add('acknowledging a message', acknowledged)
      }),
    async [Symbol.asyncDispose]() {
      reason ??= new Failure('SESSION_CLOSED', `${address.host}: the agent closed the connection`)
      await wire.leave(LEAVE_MS)
      await ended
    },
  }
}
