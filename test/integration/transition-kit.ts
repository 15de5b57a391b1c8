/** What the tests of transitions share: a cloud with both kinds of enrollment, and devices on a clock of their own. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../agent/system/clock.ts'
import type { CloudOptions, Cloud } from '../cloud/cloud.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { newIdentity, withCredential } from '../cloud/hub/identity.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import type { Variables } from '../kit/program.ts'
import { startFleetCloud } from './agent-kit.ts'

export const SECOND = 1_000
export const MINUTE = 60 * SECOND

/** A cloud, and the folder in which the keys of its devices lie. */
export interface Bed extends AsyncDisposable {
  readonly cloud: Cloud
  readonly sas: SasFleet
  readonly folder: string
  /** Wall time of the cloud in milliseconds. */
  now(): number
  /** Moves the wall clock of the cloud on. */
  shift(ms: number): void
}

/** @param sasGroup laid over the group of keys as the REST API takes it */
export async function startBed(
  options: Omit<CloudOptions, 'clock'> = {},
  sasGroup: Readonly<Record<string, unknown>> = {},
): Promise<Bed> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await makeTemporaryFolder()).path
  let shiftedMs = 0
  const clock = { ...systemClock, now: () => systemClock.now() + shiftedMs }
  const cloud = stack.use(await startFleetCloud({ ...options, clock }))
  const sas = cloud.enrollSasFleet('fleet-sas', sasGroup)
  const all = stack.move()
  return {
    ...{ cloud, sas, folder, now: clock.now },
    shift(ms) {
      shiftedMs += ms
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** One device with the clock that it lives by. */
export interface Unit extends AsyncDisposable {
  readonly id: string
  readonly bed: Bed
  readonly device: Device
  readonly clock: FakeClock
  /** The one that was booted last. */
  readonly agent: () => BootedAgent
  boot(): BootedAgent
}

export interface UnitOptions {
  /** What the device is given at its birth; a SAS key when left out. `direct` is a connection string of the hub. */
  readonly holds?: readonly ('sas' | 'x509' | 'direct')[]
  readonly toml?: string
  readonly environment?: Variables
}

/** Lays out a device that does not run yet. Its samples are an hour apart, so that a test may let time pass. */
export async function makeUnit(bed: Bed, id: string, options: UnitOptions = {}): Promise<Unit> {
  const { holds = ['sas'], toml, environment } = options
  const pair = holds.includes('x509') ? await bed.cloud.authority.makeDevice(id) : undefined
  const device = await makeDevice(bed.cloud, {
    registrationId: id,
    ...(toml !== undefined && { toml }),
    ...(pair && { pair }),
    environment: {
      TELEMETRY_INTERVAL: '3600',
      ...(holds.includes('sas') && { IOT_AGENT_SAS_KEY_FILE: await bed.sas.writeKey(keyFile(bed, id), id) }),
      ...(holds.includes('direct') && { IOT_AGENT_SAS_CONNECTION_STRING_FILE: await writeDirect(bed, id) }),
      ...environment,
    },
  })
  const clock = createFakeClock(bed.now())
  let agent: BootedAgent | undefined
  return {
    ...{ id, bed, device, clock },
    agent: () => agent ?? assert.fail('the device was never switched on'),
    boot() {
      agent = device.boot({ clock, random: () => 0.5 })
      return agent
    },
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  }
}

/** A device that is connected and has said all that there is to say. */
export async function bootUnit(bed: Bed, id: string, options?: UnitOptions): Promise<Unit> {
  const unit = await makeUnit(bed, id, options)
  unit.boot()
  await steady(unit)
  return unit
}

export const keyFile = (bed: Bed, id: string) => join(bed.folder, `${id}.key`)

/** Makes an identity that DPS knows nothing of, and the file with its connection string. */
async function writeDirect({ cloud, folder }: Bed, deviceId: string): Promise<string> {
  const [primaryKey, secondaryKey] = [newKey(), newKey()]
  cloud.hub.putIdentity(withCredential(newIdentity(deviceId), { type: 'sas', primaryKey, secondaryKey }))
  const path = join(folder, `${deviceId}.connection`)
  const text = `HostName=${cloud.hubAddress()};DeviceId=${deviceId};SharedAccessKey=${primaryKey}\n`
  await writeFile(path, text, { mode: 0o600 })
  return path
}

export function newKey(): string {
  return randomBytes(32).toString('base64')
}

// --- what the cloud wishes and reads ---

/** One line of `lastAttempt` and `history`. */
export interface ReportedAttempt {
  readonly to: string
  readonly cause: string
  readonly version?: number
  readonly result: string
  readonly code?: string
  readonly reason?: string
}

/** What these tests read of the reported section `auth`. */
export interface ReportedAuth {
  readonly mode: string
  readonly lane: string
  readonly state: string
  readonly requested?: { readonly mode?: string; readonly renew?: string; readonly version: number }
  readonly waiting?: { readonly code: string; readonly reason: string; readonly until?: string }
  readonly lastAttempt?: ReportedAttempt
  readonly history: readonly ReportedAttempt[]
  readonly certificate?: { readonly thumbprintSha256: string }
}

/** Wishes something about credentials; the desired version comes back. */
export function wish({ bed, id }: Pick<Unit, 'bed' | 'id'>, auth: Readonly<Record<string, unknown>> | null): number {
  const hub = homeOf(bed, id)
  return hub.patchTwin(id, { desired: { auth } }).desiredVersion
}

/** Waits until what the twin says of the credentials fits. */
export async function reported(unit: Unit, fits: (auth: ReportedAuth) => boolean): Promise<ReportedAuth> {
  const { bed, id } = unit
  const look = () => homeOf(bed, id).twin(id)?.reported['auth'] as ReportedAuth | undefined
  const ask = () => {
    const auth = look()
    return Promise.resolve(auth !== undefined && fits(auth) ? auth : undefined)
  }
  return eventually(ask, { seen: () => `${JSON.stringify(look())}\n${unit.agent().journal.text()}` })
}

/** Waits until the twin says what came of one wish. */
export function ended(unit: Unit, version: number): Promise<ReportedAuth> {
  return reported(unit, ({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
}

/** The hub that knows the device. */
export function homeOf({ cloud }: Bed, id: string): Cloud['hub'] {
  return cloud.hubs.find((hub) => hub.has(id)) ?? cloud.hub
}

/** Waits until the device is connected, stands still and has sent what it holds. */
export async function steady({ bed, id, agent }: Unit): Promise<void> {
  await agent().until(
    ({ connection, auth, telemetry }) =>
      connection.state === 'connected' && auth.state === 'active' && telemetry.buffered === 0,
  )
  await eventually(async () => (homeOf(bed, id).twin(id)?.reported['auth'] === undefined ? undefined : true))
}

// --- what an operator does ---

type Sign = (csr: string) => Promise<string>

/** Signs the open request and lays the chain down; the clock moves on by what the agent waits for a file to settle. */
export async function install(
  unit: Unit,
  sign: Sign = (csr) => unit.bed.cloud.authority.signDevice(csr),
): Promise<void> {
  const { device, clock, id } = unit
  const chain = await sign(await requestOf(unit))
  const path = join(device.stateDir, 'issued', `${id}.pem`)
  await mkdir(join(device.stateDir, 'issued'), { recursive: true, mode: 0o700 })
  await writeFile(`${path}.part`, chain)
  await rename(`${path}.part`, path)
  await eventually(async () => {
    const settling = clock.pending().find((leftMs) => leftMs <= 500)
    if (settling !== undefined) await clock.advance(settling)
    return (await device.has(`issued/${id}.pem`)) ? undefined : true
  })
}

/** The open request, as soon as there is one. */
export async function requestOf({ device, id }: Unit): Promise<string> {
  const name = `requests/${id}.csr`
  return eventually(async () => ((await device.has(name)) ? device.read(name) : undefined))
}

/** Moves a device from SAS to X.509 by its twin, with a certificate of the right authority where no other is given; the version comes back. */
export async function toX509(unit: Unit, sign?: Sign): Promise<number> {
  const version = wish(unit, { mode: 'x509' })
  await install(unit, sign)
  await ended(unit, version)
  return version
}

// --- time ---

/** Below every deadline of the agent, so that what is on its way arrives before one of them passes. */
const SLICE_MS = 25 * SECOND

/** Lets time pass for the device and for its cloud, and what is sent meanwhile arrive. */
export async function pass(unit: Unit, ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= SLICE_MS) {
    const sliceMs = Math.min(leftMs, SLICE_MS)
    unit.bed.shift(sliceMs)
    await unit.clock.advance(sliceMs)
    await unit.agent().until(({ connection, telemetry }) => {
      if (connection.state === 'connected') return telemetry.buffered === 0
      return connection.doing === 'waiting'
    })
  }
}

/** Lets time pass until the device tries again what did not succeed. */
export async function untilRetry(unit: Unit): Promise<void> {
  const { auth } = await unit.agent().until(({ auth: { waiting } }) => waiting?.untilMs !== undefined)
  await pass(unit, Math.max(0, (auth.waiting?.untilMs ?? 0) - unit.clock.now()))
  // Whatever hangs on time is looked at every five seconds.
  await unit.clock.advance(5 * SECOND)
}
