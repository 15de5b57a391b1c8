/** What the tests of fallback, retirement and clock share: a cloud and devices that live by one simulated time. */
import assert from 'node:assert/strict'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../../agent/agent.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { Cloud, CloudOptions } from '../cloud/cloud.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { createLapse } from '../kit/lapse.ts'
import type { Lapse } from '../kit/lapse.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import type { Profile } from '../kit/openssl.ts'
import type { Variables } from '../kit/program.ts'
import { startFleetCloud } from './agent-kit.ts'
import { sessionsOf, twinOf } from './fallback-cloud.ts'
import type { Reported, ReportedAuth } from './fallback-cloud.ts'

export * from './fallback-cloud.ts'

export const SECOND = 1_000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** A cloud and its devices, and the time of both. */
export interface Stage extends AsyncDisposable {
  readonly cloud: Cloud
  readonly sas: SasFleet
  readonly time: Lapse
  /** Private, for the SAS keys of the devices. */
  readonly folder: string
}

export async function startStage(options: Omit<CloudOptions, 'clock'> = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const time = createLapse(Date.now())
  // Keep-alives are real on both sides; certificates, tokens and the record go by the simulated time.
  const clock = { ...systemClock, now: () => time.now() }
  const cloud = stack.use(await startFleetCloud({ ...options, clock }))
  const sas = cloud.enrollSasFleet()
  const folder = stack.use(await makeTemporaryFolder()).path
  const all = stack.move()
  return { cloud, sas, time, folder, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

/** A policy that falls back after three refusals within ten minutes and tries to return after an hour. */
export const FALLBACK = {
  enabled: 'true',
  until: '2099-12-31',
  refusals: '3',
  holdOffSeconds: '600',
  perDay: '2',
  returnAfterSeconds: '3600',
} as const

/** `config.toml` of a device born on X.509, with this policy. */
export function policyToml(fallback: Readonly<Record<string, string>> = FALLBACK, more = ''): string {
  const lines = Object.entries(fallback).map(([key, value]) => `${key} = ${value}`)
  return ['[auth]', 'mode = "x509"', more, '[auth.fallback]', ...lines, ''].join('\n')
}

export interface ActorOptions {
  readonly toml?: string
  readonly environment?: Variables
  /** False leaves the device without a SAS key. */
  readonly hasSas?: boolean
  /** One generation for each, the last one active; one plain certificate when left out. */
  readonly certificates?: readonly Profile[]
  /** Where in their range all jittered pauses lie; the middle when left out. */
  readonly chance?: number
}

/** One device on the stage. */
export interface Actor extends AsyncDisposable {
  readonly id: string
  readonly stage: Stage
  readonly device: Device
  readonly sasKeyFile: string
  readonly agent: () => BootedAgent
  boot(world?: Partial<World>): BootedAgent
}

/** Lays out a device with certificates in its vault; it does not run yet. */
export async function makeActor(stage: Stage, id: string, options: ActorOptions = {}): Promise<Actor> {
  const { toml = policyToml(), environment, hasSas = true, certificates = [{}], chance = 0.5 } = options
  const sasKeyFile = await stage.sas.writeKey(join(stage.folder, `${id}.key`), id)
  const device = await makeDevice(stage.cloud, {
    ...{ registrationId: id, toml },
    environment: {
      TELEMETRY_INTERVAL: '3600',
      ...(hasSas && { IOT_AGENT_SAS_KEY_FILE: sasKeyFile }),
      ...environment,
    },
  })
  for (const [index, profile] of certificates.entries()) await layGeneration(stage, device, index + 1, profile)
  let agent: BootedAgent | undefined
  return {
    ...{ id, stage, device, sasKeyFile },
    agent() {
      if (agent === undefined) throw new Error(`${id} was never switched on`)
      return agent
    },
    boot(world = {}) {
      agent = device.boot({ clock: stage.time, random: () => chance, ...world })
      return agent
    },
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  }
}

/** Puts a certificate into the vault, as an earlier run has left it; the pointer names it. */
export async function layGeneration({ cloud }: Stage, device: Device, number: number, profile: Profile): Promise<void> {
  const { keyPem, chainPem } = await cloud.authority.makeDevice(device.registrationId, { profile })
  const vault = join(device.stateDir, 'credentials')
  const name = `gen-${String(number).padStart(4, '0')}`
  await mkdir(join(vault, name), { recursive: true, mode: 0o700 })
  await writeFile(join(vault, name, 'key.pem'), keyPem, { mode: 0o600 })
  await writeFile(join(vault, name, 'chain.pem'), chainPem, { mode: 0o600 })
  await writeFile(join(vault, 'active'), `${name}\n`, { mode: 0o600 })
}

/** A device that is connected with X.509 and has said all that there is to say. */
export async function bootActor(stage: Stage, id: string, options?: ActorOptions): Promise<Actor> {
  const actor = await makeActor(stage, id, options)
  actor.boot()
  await connected(actor, 'x509')
  return actor
}

/** Waits, without time going by, until the device is connected, stands still, and has said so. */
export async function connected({ stage, id, agent }: Actor, mode: 'sas' | 'x509'): Promise<void> {
  await agent().until(
    ({ connection, auth, telemetry }) =>
      connection.state === 'connected' && auth.state === 'active' && auth.mode === mode && telemetry.buffered === 0,
  )
  await reported({ stage, id, agent }, (auth) => auth.mode === mode)
}

// --- time ---

/** The longest leap: the agent looks at time every five seconds, and nothing that is tested here is finer than this. */
const LEAP_MS = MINUTE

/** The first leaps after a connection are short, so that what is read and reported on it meets no deadline. */
const SHORT_MS = 5 * SECOND

/**
 * Lets time go by until something is so, at most for `ms`; false when it never was.
 *
 * @param isStuck says that an answer is waited for which never comes
 */
export async function pass(
  { stage: { time, cloud } }: Pick<Actor, 'stage'>,
  ms: number,
  until: () => boolean = () => false,
  isStuck: () => boolean = () => false,
): Promise<boolean> {
  const endMs = time.monotonicMs() + ms
  let events = cloud.record.seq()
  let short = 6
  for (;;) {
    await time.rest(() => cloud.record.receivedBytes() + cloud.record.seq(), isStuck)
    if (until()) return true
    const leftMs = endMs - time.monotonicMs()
    if (leftMs <= 0) return false
    short = cloud.record.seq() === events ? short - 1 : 6
    events = cloud.record.seq()
    await time.leap(Math.min(leftMs, short > 0 || isStuck() ? SHORT_MS : LEAP_MS))
  }
}

// --- what a device is waited for ---

/** Signs the open request and lays the chain down where the device looks for it. */
export async function install(actor: Actor, profile: Profile = {}): Promise<void> {
  const { id, stage, device } = actor
  const request = `requests/${id}.csr`
  const csr = await eventually(async () => ((await device.has(request)) ? device.read(request) : undefined))
  const path = join(device.stateDir, 'issued', `${id}.pem`)
  await writeFile(`${path}.part`, await stage.cloud.authority.signDevice(csr, profile))
  await rename(`${path}.part`, path)
  const accepted = () => actor.agent().journal.text().includes('the chain was checked and accepted')
  assert.ok(await pass(actor, 10 * MINUTE, accepted), 'the chain is not taken')
}

/** Waits, without time going by, until what the twin says of the credentials fits. */
export function reported(
  actor: Pick<Actor, 'stage' | 'id' | 'agent'>,
  fits: (auth: ReportedAuth, all: Reported) => boolean,
): Promise<ReportedAuth> {
  const ask = () => {
    const all = twinOf(actor)
    return Promise.resolve(all.auth !== undefined && fits(all.auth, all) ? all.auth : undefined)
  }
  return eventually(ask, { seen: () => `${JSON.stringify(twinOf(actor))}\n${actor.agent().journal.text()}` })
}

/** Lets time go by until the device has opened a session on this lane. */
export async function untilSession(actor: Actor, lane: 'sas' | 'x509', since: number, withinMs = DAY): Promise<void> {
  const came = await pass(actor, withinMs, () => sessionsOf(actor, since).includes(lane))
  assert.ok(came, `no session with ${lane} within ${withinMs} ms: ${actor.agent().journal.text()}`)
  await connected(actor, lane)
}
