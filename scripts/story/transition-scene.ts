/** The stage of the transition story: a cloud with both ways in, a device between them, and how the steps look at both. */
import { X509Certificate } from 'node:crypto'
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { SasFleet } from '../../test/cloud/fleets.ts'
import type { RecordedEvent } from '../../test/cloud/record.ts'
import { makeDevice } from './device.ts'
import type { Device } from './device.ts'
import { stampOf } from './judge-record.ts'
import { makePlace, REGISTRATION_ID, seen } from './words.ts'
import type { EventOf, Telling } from './words.ts'

export type Lane = 'sas' | 'x509'

/** The enrollment groups of the cloud, by lane. */
export const GROUPS: Readonly<Record<Lane, string>> = { sas: 'fleet-sas', x509: 'fleet-x509' }

/** The section `auth` of the reported twin, as far as the story reads it. */
export interface ReportedAuth {
  readonly mode?: Lane
  readonly lastAttempt?: {
    readonly to?: Lane
    readonly cause?: string
    readonly version?: number
    readonly result?: string
    readonly code?: string
    readonly reason?: string
  }
  readonly requested?: { readonly renew?: string }
  readonly fallback?: { readonly active?: boolean; readonly cause?: string }
  readonly sas?: { readonly retired?: boolean; readonly available?: boolean }
}

export interface Scene extends Telling {
  readonly folder: string
  readonly cloud: Cloud
  readonly device: Device
  readonly sasFleet: SasFleet
  /** The file with the SAS secret of the device. */
  readonly secretFile: string
}

/** Lays out the device: its secret, its configuration, and a clock that is kept right. */
export async function setScene(
  telling: Telling,
  { cloud, sasFleet, folder }: Pick<Scene, 'cloud' | 'sasFleet' | 'folder'>,
): Promise<Scene> {
  const place = await makePlace(folder, 'device')
  const secrets = join(place, 'secrets')
  await mkdir(secrets, { mode: 0o700 })
  const secretFile = await sasFleet.writeKey(join(secrets, 'sas.key'), REGISTRATION_ID)
  const device = await makeDevice({
    ...{ cloud, folder: place, registrationId: REGISTRATION_ID, toml: configuration(cloud, secretFile) },
    environment: { PATH: `${await makeTimedatectl(place)}:${process.env['PATH'] ?? ''}` },
  })
  return { ...telling, folder, cloud, device, sasFleet, secretFile }
}

/** The rules of a real migration, with waits for people who watch: the defaults wait for hours. */
function configuration(cloud: Cloud, secretFile: string): string {
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
  return `[auth]
soakSeconds = 0
[auth.sas]
keyFile = "${secretFile}"
[auth.fallback]
enabled = true
until = ${tomorrow}
refusals = 2
holdOffSeconds = 0
returnAfterSeconds = 5
[clock]
skewSource = "${cloud.dps.host}:${cloud.httpsPort}"
`
}

/**
 * Fallback and retirement ask for a clock that is trusted. On a device NTP sees to that, and systemd says so; the machine
 * of the story may have no systemd.
 */
async function makeTimedatectl(place: string): Promise<string> {
  const bin = join(place, 'bin')
  await mkdir(bin)
  const program = join(bin, 'timedatectl')
  await writeFile(program, '#!/bin/sh\necho yes\n')
  await chmod(program, 0o755)
  return bin
}

/** DPS has assigned the device through the group of this lane. */
export function registered({ cloud }: Scene, lane: Lane, since: number): Promise<EventOf<'registered'>> {
  return seen(cloud, 'registered', (event) => event.enrollment === GROUPS[lane], since)
}

/** The hub has let the device in. */
export function connected(scene: Scene, lane: Lane, since: number): Promise<EventOf<'connected'>> {
  const { cloud } = scene
  return seen(cloud, 'connected', (event) => event.host === cloud.hub.host && event.auth === lane, since)
}

/** Waits for `count` messages after `since`; true when the hub stamped each of them with this lane. */
export async function areStamped({ cloud }: Scene, lane: Lane, since: number, count = 2): Promise<boolean> {
  const sent = () => cloud.record.events(since).filter((event) => event.kind === 'telemetry')
  await seen(cloud, 'telemetry', () => sent().length >= count, since)
  return sent().every(({ message }) => stampOf(message) === lane)
}

/** Waits until the reported twin fits, and gives it back. */
export async function twinSays({ cloud }: Scene, fits: (auth: ReportedAuth) => boolean): Promise<ReportedAuth> {
  const auth = () => (cloud.hub.twin(REGISTRATION_ID)?.reported['auth'] ?? {}) as ReportedAuth
  if (!fits(auth())) await seen(cloud, 'reported', () => fits(auth()))
  return auth()
}

/** What a technician writes into the twin; the desired version comes back. */
export function wish({ cloud, say }: Scene, auth: Readonly<Record<string, unknown>>): number {
  const text = JSON.stringify({ auth })
  say('you type', `az iot hub device-twin update -n contoso -d ${REGISTRATION_ID} --desired '${text}'`)
  return cloud.hub.patchTwin(REGISTRATION_ID, { desired: { auth } }).desiredVersion
}

/** The only certificate that the hub takes from the device now. */
export function takenThumbprint({ cloud }: Scene): string | undefined {
  const authentication = cloud.hub.identity(REGISTRATION_ID)?.authentication
  if (authentication?.type !== 'selfSigned') return undefined
  return authentication.x509Thumbprint.primaryThumbprint ?? undefined
}

/** The fleet's script: takes requests/ID.csr, has it signed, and lays issued/ID.pem. The thumbprint comes back. */
export async function signRequest({ device }: Scene, sign: (csr: string) => Promise<string>): Promise<string> {
  const csr = await fileThatComes(join(device.stateDir, 'requests', `${REGISTRATION_ID}.csr`))
  const chain = await sign(csr)
  const issued = join(device.stateDir, 'issued', `${REGISTRATION_ID}.pem`)
  await writeFile(`${issued}.part`, chain)
  await rename(`${issued}.part`, issued)
  return new X509Certificate(chain).fingerprint256.replaceAll(':', '')
}

/** Source of both limits: a script that looks in every 100 ms, and gives up when the step would. */
const LOOK_MS = 100
const LOOKS = 600

async function fileThatComes(path: string): Promise<string> {
  for (let look = 0; look < LOOKS; look += 1) {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    })
    if (text !== undefined) return text
    await pause(LOOK_MS)
  }
  throw new Error(`nothing was laid in ${path}`)
}

export function brief(thumbprint: string): string {
  return `${thumbprint.slice(0, 16)}…`
}

/** Every event of the whole story. */
export function allEvents({ cloud }: Scene): readonly RecordedEvent[] {
  return cloud.record.events()
}
