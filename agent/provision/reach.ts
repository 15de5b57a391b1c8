import provisioning from 'azure-iot-provisioning-device'
import { asFailure, Failure } from '../failure.ts'
import { bounded } from '../system/deadline.ts'
import { parseAddress } from '../wire/address.ts'
import { loadTlsIdentity } from '../wire/credential.ts'
import { signToken } from '../wire/sas-token.ts'
import { createWire } from '../wire/wire.ts'
import type { RegistrationRequest } from './dps.ts'

const { apiVersion, userAgent } = provisioning.ProvisioningDeviceConstants

const KEEP_ALIVE_SECONDS = 60
const LEAVE_MS = 500

/**
 * Does everything of a registration but the registration: name, TCP, TLS with this credential, and CONNECT until CONNACK.
 * Nothing changes in the cloud. Whether DPS will take the credential shows at the registration only: it may let any
 * device connect and refuse it afterwards (azure-protocols, 1.7).
 *
 * @returns what stands in the way, diagnosed; undefined when DPS lets the device connect
 * @throws signal.reason when aborted
 */
export async function reachDps(request: RegistrationRequest, signal: AbortSignal): Promise<Failure | undefined> {
  signal.throwIfAborted()
  const outcome = await connectAndLeave(request, signal).catch(asFailure)
  signal.throwIfAborted()
  return outcome
}

async function connectAndLeave(request: RegistrationRequest, signal: AbortSignal): Promise<undefined> {
  const { clock, deadlineMs: withinMs } = request
  const address = parseAddress(request.host)
  if (address === undefined) throw new Failure('CONFIG_INVALID', `dps.host is not a host name: ${request.host}`)
  const { context } = loadTlsIdentity(request.credential, request.ca)
  const wire = createWire({
    ...{ endpoint: 'dps', address, context, keepAliveSeconds: KEEP_ALIVE_SECONDS, clock },
    receive: () => undefined,
  })
  const connected = new Promise<void>((resolve, reject) => {
    wire.base.connect(helloOf(request, address.host), (cause) => {
      if (cause === undefined || cause === null) resolve()
      else reject(wire.failure(cause))
    })
  })
  const cut = wire.closed.then(() => Promise.reject(wire.failure()))
  try {
    await bounded(Promise.race([connected, cut]), { clock, withinMs, code: 'DPS_NO_ANSWER', what: 'DPS' }, signal)
    return undefined
  } catch (error) {
    throw error instanceof Failure && error.code === 'DPS_NO_ANSWER' ? wire.lateness(error) : error
  } finally {
    await wire.leave(LEAVE_MS)
  }
}

/** As the provisioning client says it. */
function helloOf({ idScope, registrationId, credential, clock }: RegistrationRequest, host: string) {
  const resource = `${idScope}/registrations/${registrationId}`
  const username = `${resource}/api-version=${apiVersion}&ClientVersion=${encodeURIComponent(userAgent)}`
  const hello = { clientId: registrationId, clean: true, uri: `mqtts://${host}`, username }
  if (credential.lane === 'x509') return { ...hello, x509: { cert: credential.chainPem, key: credential.keyPem } }
  return { ...hello, sharedAccessSignature: signToken(resource, credential.key, clock.now(), 'registration').text }
}
