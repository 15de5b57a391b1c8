import common from 'azure-iot-common'
import iot from 'azure-iot-device'
import type { Client } from 'azure-iot-device'
import iotMqtt from 'azure-iot-device-mqtt'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import type { ClientCertificate } from '../wire/credential.ts'
import type { Wire } from '../wire/wire.ts'

export interface SdkClientOptions {
  readonly deviceId: string
  readonly certificate: ClientCertificate
  readonly clock: Clock
  /** From the first DNS query to CONNACK, in milliseconds; 30 s. */
  readonly connectTimeoutMs?: number
  /** Shown to the hub in the user name, after the SDK's own agent string. */
  readonly productInfo: string
}

const CONNECT_WITHIN_MS = 30_000

/** The SDK's own limit for a PUBACK, in seconds: beyond ours, which ends the session. */
const SDK_PUBACK_SECONDS = 600

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
): Promise<Client> {
  const client = createClient(options, host, wire)
  const opened = client.open().catch((cause: unknown) => Promise.reject(wire.failure(cause)))
  const cut = wire.closed.then(() => Promise.reject(wire.failure()))
  const withinMs = options.connectTimeoutMs ?? CONNECT_WITHIN_MS
  const limit = { clock: options.clock, withinMs, code: 'HUB_NO_ANSWER', what: `connecting to ${host}` } as const
  try {
    await bounded(Promise.race([opened, cut]), limit, signal)
    return client
  } catch (error) {
    const late = error instanceof Failure && error.code === 'HUB_NO_ANSWER'
    const failure = late ? wire.lateness(error) : error
    wire.kill()
    await wire.closed
    throw failure
  }
}

function createClient(options: SdkClientOptions, host: string, wire: Wire): Client {
  const credential = { cert: options.certificate.chainPem, key: options.certificate.keyPem }
  const authentication = iot.X509AuthenticationProvider.fromX509Options(options.deviceId, host, credential)
  const transport = new iotMqtt.Mqtt(authentication, wire.base)
  transport.setOptions({ productInfo: options.productInfo })
  wire.base.setTimeout(SDK_PUBACK_SECONDS)
  const client = new iot.Client(transport)
  client.setRetryPolicy(new common.NoRetry())
  // The wire knows why a connection fails; what the SDK emits about it is wrong in both directions.
  client.on('error', () => undefined)
  return client
}
