import provisioning from 'azure-iot-provisioning-device'
import provisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { isObject, parseJson } from '../system/json.ts'
import { parseAddress } from '../wire/address.ts'
import { loadTlsIdentity } from '../wire/credential.ts'
import type { WireCredential } from '../wire/credential.ts'
import type { Delivery } from '../wire/guarded-base.ts'
import { withTokenEnd } from '../wire/sas-token.ts'
import { createWire } from '../wire/wire.ts'
import { judgeAnswer, MAX_RETRY_AFTER_MS } from './answer.ts'
import type { Assignment } from './answer.ts'
import { createSecurity } from './security.ts'

export type { Assignment } from './answer.ts'

export interface RegistrationRequest {
  /** `name` or `name:port` of a DPS endpoint. */
  readonly host: string
  readonly idScope: string
  readonly registrationId: string
  readonly credential: WireCredential
  /** PEM of the only roots to trust; without it, the roots that the runtime brings. */
  readonly ca?: string
  /** PKCS#10 in PEM: asks DPS for a certificate as well, in the preview of certificate management. */
  readonly csrPem?: string
  /** For all of it, name, TLS, answers and polls, beside the waits that DPS asks for: of those, an hour is granted. */
  readonly deadlineMs: number
  readonly clock: Clock
}

/** DPS has its own limits; this only notices a dead link between two polls. */
const KEEP_ALIVE_SECONDS = 60

/** The version that takes a request and issues a certificate. Source: azure-protocols, 3.2. */
const ISSUING_API_VERSION = '2025-07-01-preview'

/** Time for a clean end of the connection once the outcome is known, in milliseconds. */
const LEAVE_MS = 500

/**
 * Registers the device with its certificate or its symmetric key, through the official provisioning client. However it
 * ends, no socket and no timer is left. With a request, an assignment without a chain is no failure here: what it says is
 * for the caller.
 *
 * @throws Failure TLS_LOCAL_CREDENTIAL before anything is sent; NETWORK_…, TLS_…, DPS_… as diagnosed, with
 *   `retryAfterMs` where DPS named one; HUB_TYPE_UNSUPPORTED for a hub that the SDK cannot speak to
 * @throws signal.reason when aborted
 */
export async function register(request: RegistrationRequest, signal?: AbortSignal): Promise<Assignment> {
  signal?.throwIfAborted()
  const attempt = startAttempt(request)
  const work = Promise.race([attempt.outcome, attempt.cut])
  const { clock, deadlineMs: withinMs } = request
  const limit = { clock, withinMs, grantedMs: attempt.grantedMs, code: 'DPS_NO_ANSWER', what: 'DPS' } as const
  try {
    return await bounded(work, limit, signal)
  } catch (error) {
    const late = error instanceof Failure && error.code === 'DPS_NO_ANSWER'
    if (late) throw attempt.lateness(error)
    throw error instanceof Failure ? attempt.explained(error) : error
  } finally {
    await attempt.end()
  }
}

/** The SDK writes no member for it. Base64 of the DER on one line, in the registration alone: a look-up with it is refused. */
function withCsr(csrPem: string): (topic: string, payload: unknown) => unknown {
  const csr = csrPem.replaceAll(/-----[^-]+-----|\s/g, '')
  return (topic, payload) => {
    const body = topic.startsWith(REGISTER_TOPIC) ? parseJson(String(payload)) : undefined
    return isObject(body) ? JSON.stringify({ ...body, csr }) : payload
  }
}

const REGISTER_TOPIC = '$dps/registrations/PUT/iotdps-register/'

interface Attempt {
  readonly outcome: Promise<Assignment>
  /** Rejects with the diagnosis when the connection ends before the outcome. */
  readonly cut: Promise<never>
  /** The waits that DPS has asked for so far, as far as they are granted, in milliseconds. */
  readonly grantedMs: () => number
  /** What a passed deadline means at the point where the connection is. */
  lateness(cause: Failure): Failure
  /** A failure with what this attempt knows of its credential. */
  explained(failure: Failure): Failure
  end(): Promise<void>
}

function startAttempt(request: RegistrationRequest): Attempt {
  const address = parseAddress(request.host)
  if (address === undefined) throw new Failure('CONFIG_INVALID', `dps.host is not a host name: ${request.host}`)
  const { context } = loadTlsIdentity(request.credential, request.ca)
  const { clock } = request
  const outcome = Promise.withResolvers<Assignment>()
  const over = new AbortController()
  // The SDK polls once it has been shown that DPS accepted the registration, and never registers again.
  let asked: 'register' | 'poll' = 'register'
  let grantedMs = 0

  const receive = (delivery: Delivery): undefined => {
    const verdict = judgeAnswer(delivery, request.registrationId, asked)
    if (verdict?.next === 'assigned') outcome.resolve(verdict.assignment)
    if (verdict?.next === 'failed') outcome.reject(verdict.failure)
    if (verdict?.next !== 'poll') return
    grantedMs = Math.min(grantedMs + verdict.wishedMs, MAX_RETRY_AFTER_MS)
    const deliver = () => {
      asked = 'poll'
      wire.base.deliver(verdict.delivery)
    }
    clock.wait(verdict.afterMs, over.signal).then(deliver).catch(outcome.reject)
  }
  const wire = createWire({
    ...{ endpoint: 'dps', address, context, keepAliveSeconds: KEEP_ALIVE_SECONDS, clock, receive },
    ...(request.csrPem !== undefined && { apiVersion: ISSUING_API_VERSION, send: withCsr(request.csrPem) }),
  })
  const transport = new provisioningMqtt.Mqtt(wire.base)
  transport.on('error', outcome.reject)
  const security = createSecurity(request)
  const client = provisioning.ProvisioningDeviceClient.create(address.host, request.idScope, transport, security.client)
  // An assignment is taken from the answer itself: the SDK resolves only after it has also said goodbye.
  void client.register((cause) => outcome.reject(wire.failure(cause)))
  return {
    outcome: outcome.promise,
    cut: wire.closed.then(() => Promise.reject(wire.failure())),
    grantedMs: () => grantedMs,
    lateness: (cause) => wire.lateness(cause),
    explained: (failure) => withTokenEnd(failure, security.token),
    async end() {
      over.abort()
      transport.disconnect(() => undefined)
      await wire.leave(LEAVE_MS)
    },
  }
}
