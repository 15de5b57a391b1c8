/** The stage of the renewal story: one cloud with three ways in, an EST server, and three devices that live at the same time. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { SasFleet } from '../../test/cloud/fleets.ts'
import { pkcs7Of, requestOfBody, startEstServer } from '../../test/kit/est-server.ts'
import type { EstServer } from '../../test/kit/est-server.ts'
import { makeDevice } from './device.ts'
import type { Device } from './device.ts'
import { makePlace, seen } from './words.ts'
import type { Telling } from './words.ts'

/** Lifetimes that people can watch; the least that leaves room for a registration between two of them. */
export const EST_LIFETIME_S = 24
export const MANAGED_LIFETIME_S = 40

export const MANAGED_POLICY = 'forty-seconds'

/** What these steps read of the reported section `auth`. */
export interface ReportedAuth {
  readonly mode?: string
  readonly state?: string
  readonly csr?: string
  readonly lastAttempt?: {
    readonly cause?: string
    readonly version?: number
    readonly result?: string
    readonly code?: string
  }
  readonly certificate?: { readonly thumbprintSha256: string; readonly issuedBy: string }
}

export interface Scene extends Telling {
  readonly cloud: Cloud
  readonly est: EstServer
  /** Certified over its session with the hub. */
  readonly overHub: Device
  /** Certified by DPS. */
  readonly byDps: Device
  /** Certified by the EST server. */
  readonly byEst: Device
}

interface Stage {
  readonly cloud: Cloud
  readonly fleet: SasFleet
  /** Its enrollment has a credential policy. */
  readonly managed: SasFleet
  readonly folder: string
}

export async function setScene(telling: Telling, stage: Stage): Promise<Scene> {
  const { cloud, fleet, managed, folder } = stage
  const est = await startEst(stage)
  const renewal = '[auth.renewal]\npercent = 50\nspreadPercent = 0\n'
  const overHub = await layOut(stage, 'press-07', fleet, '')
  const byDps = await layOut(stage, 'press-08', managed, `[issuer]\nkind = "dps"\n${renewal}`)
  const estToml = `[issuer]\nkind = "est"\n[issuer.est]\nserver = "${est.url}"\ncaFile = "${cloud.authority.root.certificatePath}"\nuser = "press-09"\npasswordFile = "${await writeSecret(folder)}"\n`
  const byEst = await layOut(stage, 'press-09', fleet, `${estToml}${renewal}`)
  return { ...telling, cloud, est, overHub, byDps, byEst }
}

async function layOut({ cloud, folder }: Stage, id: string, fleet: SasFleet, toml: string): Promise<Device> {
  const place = await makePlace(folder, id)
  const keyFile = await fleet.writeKey(join(place, 'sas.key'), id)
  return makeDevice({
    ...{ cloud, folder: place, registrationId: id, toml },
    environment: { IOT_AGENT_SAS_KEY_FILE: keyFile },
  })
}

async function writeSecret(folder: string): Promise<string> {
  const path = join(folder, 'est-password')
  await writeFile(path, 'a password of its own\n', { mode: 0o600 })
  return path
}

/** Signs whatever comes with the authority that DPS knows, for a life that people can watch. */
function startEst({ cloud, folder }: Stage): Promise<EstServer> {
  const { root, intermediate } = cloud.authority
  return startEstServer(folder, root, async ({ operation, body }) => {
    if (operation === 'csrattrs') return { status: 204 }
    if (operation === 'cacerts') return reply(folder, intermediate.certificatePem + root.certificatePem)
    const notBefore = new Date()
    const notAfter = new Date(notBefore.getTime() + EST_LIFETIME_S * 1000)
    return reply(folder, await intermediate.sign(requestOfBody(body), { notBefore, notAfter }))
  })
}

async function reply(folder: string, pem: string) {
  return { status: 200, body: await pkcs7Of(folder, pem) }
}

/** Waits until the reported twin of a device fits, and gives it back. */
export async function twinSays(
  { cloud }: Pick<Scene, 'cloud'>,
  { registrationId }: Device,
  fits: (auth: ReportedAuth) => boolean,
): Promise<ReportedAuth> {
  const auth = () => (cloud.hub.twin(registrationId)?.reported['auth'] ?? {}) as ReportedAuth
  if (!fits(auth())) await seen(cloud, 'reported', () => fits(auth()))
  return auth()
}

/** What a fleet tool writes into the twin of a device; the desired version comes back. */
export function wish({ cloud, say }: Scene, device: Device, auth: Readonly<Record<string, unknown>>): number {
  const text = JSON.stringify({ auth })
  say('you type', `az iot hub device-twin update -n contoso -d ${device.registrationId} --desired '${text}'`)
  return cloud.hub.patchTwin(device.registrationId, { desired: { auth } }).desiredVersion
}

/** Resolves when this device is connected on this lane. */
export async function connected({ cloud }: Scene, { registrationId }: Device, lane: string, since = 0): Promise<void> {
  await seen(
    cloud,
    'connected',
    ({ host, clientId, auth }) => host === cloud.hub.host && clientId === registrationId && auth === lane,
    since,
  )
}
