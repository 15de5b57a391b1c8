/** Devices of a stand-in with certificate management: requests by openssl, registration and renewal packet by packet. */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Cloud } from '../cloud/cloud.ts'
import type { RegistrationState } from '../cloud/dps/records.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { signSas } from '../cloud/sas.ts'
import { makeKey, makeTemporaryFolder, openssl, type OpensslKey } from '../kit/openssl.ts'
import { connectDevice, dial, expectPacket, greet, nextPublish, publication, subscribe } from './cloud-client.ts'
import type { WireClient } from './cloud-client.ts'

export const POLICY = 'thirty-days'
export const CREDENTIALS = '$iothub/credentials/res/#'
export const HUB_PREVIEW = '2025-08-01-preview'
export const DPS_PREVIEW = '2025-07-01-preview'

export interface MadeRequest {
  /** Base64 of the DER, as the services take it. */
  readonly csr: string
  readonly keyPem: string
}

/** @param subject as openssl takes it, `/CN=…` */
export async function makeCsr(
  subject: string,
  key: OpensslKey = 'ec-p384',
  digest: readonly string[] = key === 'ec-p384' ? ['-sha384'] : [],
): Promise<MadeRequest> {
  await using folder = await makeTemporaryFolder()
  const keyFile = await makeKey(join(folder.path, 'device.key'), key)
  const out = join(folder.path, 'request.der')
  await openssl(['req', '-new', '-key', keyFile, '-subj', subject, '-utf8', '-outform', 'DER', '-out', out, ...digest])
  const der = await readFile(out)
  return { csr: der.toString('base64'), keyPem: await readFile(keyFile, 'utf8') }
}

export interface Onboarding {
  readonly registrationId: string
  readonly password?: string
  readonly credential?: { readonly chainPem: string; readonly keyPem: string }
  readonly apiVersion?: string
}

export interface DpsAnswer {
  readonly status: number
  readonly body: {
    readonly operationId?: string
    readonly errorCode?: number
    readonly message?: string
    readonly registrationState?: RegistrationState
  }
}

/** What one device says to DPS; `body` goes out as JSON. */
export async function openDps(cloud: Cloud, onboarding: Onboarding) {
  const { registrationId, apiVersion = DPS_PREVIEW, ...shown } = onboarding
  const { host } = cloud.dps
  const client = await dial(cloud, { host, ...shown })
  const username = `${cloud.idScope}/registrations/${registrationId}/api-version=${apiVersion}&ClientVersion=test`
  await greet(client, { host, deviceId: registrationId, username, ...shown })
  await subscribe(client, ['$dps/registrations/res/#'], 0)
  const ask = async (topic: string, body: unknown): Promise<DpsAnswer> => {
    client.send(publication(topic, JSON.stringify(body)))
    const answer = await nextPublish(client)
    const status = Number(answer.topic.split('/')[3])
    return { status, body: JSON.parse(answer.text) as DpsAnswer['body'] }
  }
  return {
    ...client,
    register: (body: unknown) => ask('$dps/registrations/PUT/iotdps-register/?$rid=1', body),
    poll: (operationId = '', body: unknown = {}) =>
      ask(`$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=${operationId}`, body),
  }
}

/** Registers and polls; the first answer that is no 202. */
export async function register(cloud: Cloud, onboarding: Onboarding, body: unknown): Promise<DpsAnswer> {
  await using dps = await openDps(cloud, onboarding)
  let answer = await dps.register(body)
  for (let polls = 0; polls < 5 && answer.status === 202; polls += 1) answer = await dps.poll(answer.body.operationId)
  return answer
}

export function stateOf({ body }: DpsAnswer): RegistrationState {
  if (body.registrationState === undefined) throw new Error(`no registration state in ${JSON.stringify(body)}`)
  return body.registrationState
}

export function certificatesOf(chain: readonly string[] | undefined): readonly X509Certificate[] {
  return (chain ?? []).map((der) => new X509Certificate(Buffer.from(der, 'base64')))
}

export function groupToken(cloud: Cloud, fleet: SasFleet, registrationId: string): string {
  const resource = `${cloud.idScope}/registrations/${registrationId}`
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + 86_400 * 365
  return signSas({ resource, key: fleet.deriveKey(registrationId), expiresAtSeconds, skn: 'registration' })
}

export interface ManagedDevice {
  readonly deviceId: string
  readonly credential: { readonly chainPem: string; readonly keyPem: string }
}

/** Registers by the key of the group with a request of its own; comes back with what DPS issued. */
export async function makeManaged(cloud: Cloud, fleet: SasFleet, deviceId: string): Promise<ManagedDevice> {
  const { csr, keyPem } = await makeCsr(`/CN=${deviceId}`)
  const password = groupToken(cloud, fleet, deviceId)
  const answer = await register(cloud, { registrationId: deviceId, password }, { csr })
  const chain = certificatesOf(stateOf(answer).issuedCertificateChain)
  return { deviceId, credential: { keyPem, chainPem: chain.map(String).join('') } }
}

export interface Reaching {
  readonly clean?: boolean
  readonly apiVersion?: string
}

export function openHub(cloud: Cloud, device: ManagedDevice, reaching: Reaching = {}) {
  return connectDevice(cloud, { apiVersion: HUB_PREVIEW, ...device, ...reaching })
}

/** CONNACK of one connect with this certificate. */
export async function connackOf(cloud: Cloud, device: ManagedDevice): Promise<number | undefined> {
  await using client = await openHub(cloud, device)
  return client.connack.returnCode
}

export interface Answer {
  readonly status: number
  readonly topic: string
  readonly body: {
    readonly errorCode?: number
    readonly message?: string
    readonly correlationId?: string
    readonly operationExpires?: string
    readonly certificates?: readonly string[]
    readonly retryAfter?: number
    readonly trackingId?: string
    readonly timestampUtc?: string
    readonly info?: Readonly<Record<string, string>>
  }
}

export function topicFor(rid: string): string {
  return `$iothub/credentials/POST/issueCertificate/?$rid=${rid}`
}

/** Publishes at QoS 0; `body` goes out as it is when it is text. */
export function publishRequest(client: WireClient, rid: string, body: unknown): void {
  client.send(publication(topicFor(rid), typeof body === 'string' ? body : JSON.stringify(body)))
}

export async function nextAnswer(client: WireClient): Promise<Answer> {
  const { topic, text } = await nextPublish(client)
  return { status: Number(topic.split('/')[3]), topic, body: JSON.parse(text) as Answer['body'] }
}

export async function ask(client: WireClient, rid: string, body: unknown): Promise<Answer> {
  publishRequest(client, rid, body)
  return await nextAnswer(client)
}

/** Fails when the server sent anything before its answer to a ping. */
export async function expectSilence(client: WireClient): Promise<void> {
  client.send({ cmd: 'pingreq' })
  expectPacket(await client.next(), 'pingresp')
}

export async function unsubscribe(client: WireClient, filter: string): Promise<void> {
  client.send({ cmd: 'unsubscribe', messageId: 78, unsubscriptions: [filter] })
  expectPacket(await client.next(), 'unsuback')
}
