import common from 'azure-iot-common'
import iot from 'azure-iot-device'
import type { Client } from 'azure-iot-device'
import iotMqtt from 'azure-iot-device-mqtt'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import type { WireCredential } from '../wire/credential.ts'
import { signToken, withTokenEnd } from '../wire/sas-token.ts'
import type { SasToken } from '../wire/sas-token.ts'
import type { Wire } from '../wire/wire.ts'

export interface SdkClientOptions {
  readonly deviceId: string
  readonly credential: WireCredential
  readonly clock: Clock
  /** From the first DNS query to CONNACK, in milliseconds; 30 s. */
  readonly connectTimeoutMs?: number
  /** Shown to the hub in the user name, after the SDK's own agent string. */
  readonly productInfo: string
}

const CONNECT_WITHIN_MS = 30_000

/** The SDK's own limit for a PUBACK, in seconds: beyond ours, which ends the session. */
const SDK_PUBACK_SECONDS = 600

/** The official client, connected. */
export interface SdkClient {
  readonly client: Client
  /** What it connected with on the lane `sas`; it serves for this connection only. */
  readonly token: SasToken | undefined
}

/**
 * Opens the official device client over a wire, for its one connection, with nothing that retries.
 *
 * @param host name of the hub without a port, as it goes into the MQTT user name
 * @throws Failure as the wire diagnoses it; signal.reason when aborted. No socket is left by then.
 */
export async function openSdkClient(
  options: SdkClientOptions,
  host: string,
  wire: Wire,
  signal: AbortSignal | undefined,
): Promise<SdkClient> {
  const { authentication, token } = authenticate(options, host)
  const client = createClient(options, authentication, wire)
  const opened = client.open().catch((cause: unknown) => Promise.reject(wire.failure(cause)))
  const cut = wire.closed.then(() => Promise.reject(wire.failure()))
  const withinMs = options.connectTimeoutMs ?? CONNECT_WITHIN_MS
  const limit = { clock: options.clock, withinMs, code: 'HUB_NO_ANSWER', what: `connecting to ${host}` } as const
  try {
    await bounded(Promise.race([opened, cut]), limit, signal)
    return { client, token }
  } catch (error) {
    const late = error instanceof Failure && error.code === 'HUB_NO_ANSWER'
    const failure = late ? wire.lateness(error) : error
    wire.kill()
    await wire.closed
    throw failure instanceof Failure ? withTokenEnd(failure, token) : failure
  }
}

type Authentication = ConstructorParameters<typeof iotMqtt.Mqtt>[0]

/** The token names the host as the user name does; the SDK takes it as it is and has no timer for it. */
function authenticate(
  { credential, deviceId, clock }: SdkClientOptions,
  host: string,
): { readonly authentication: Authentication; readonly token: SasToken | undefined } {
  if (credential.lane === 'x509') {
    const pair = { cert: credential.chainPem, key: credential.keyPem }
    return { authentication: iot.X509AuthenticationProvider.fromX509Options(deviceId, host, pair), token: undefined }
  }
  const token = signToken(`${host}/devices/${deviceId}`, credential.key, clock.now())
  return {
    authentication: iot.SharedAccessSignatureAuthenticationProvider.fromSharedAccessSignature(token.text),
    token,
  }
}

function createClient(options: SdkClientOptions, authentication: Authentication, wire: Wire): Client {
  const transport = new iotMqtt.Mqtt(authentication, wire.base)
  transport.setOptions({ productInfo: options.productInfo })
  wire.base.setTimeout(SDK_PUBACK_SECONDS)
  const client = new iot.Client(transport)
  client.setRetryPolicy(new common.NoRetry())
  // The wire knows why a connection fails; what the SDK emits about it is wrong in both directions.
  client.on('error', () => undefined)
  return client
}
