import { readFile } from 'node:fs/promises'
import type { Config } from './config/paths.ts'
import { logHealth } from './connected.ts'
import type { Attendance } from './connected.ts'
import type { ControlRequest } from './control/protocol.ts'
import { openControl } from './control/server.ts'
import { createFacts, statusOf } from './facts.ts'
import type { Facts } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import { openIdentity } from './identity.ts'
import { keepConnected } from './link.ts'
import { systemClock } from './system/clock.ts'
import type { Clock } from './system/clock.ts'
import { errorCode, makePrivateFolder } from './system/files.ts'
import { createLog } from './system/log.ts'
import type { Log } from './system/log.ts'
import { createNotify } from './system/notify.ts'
import type { Notify } from './system/notify.ts'
import { exitOnTheUnexpected, stopOnSignals } from './system/stop.ts'
import { createBuffer } from './telemetry/buffer.ts'
import type { Spool } from './telemetry/buffer.ts'
import { createDeviceSource } from './telemetry/device-source.ts'
import { createMetricsReader } from './telemetry/metrics/read.ts'
import { createSchedule } from './telemetry/schedule.ts'
import type { Schedule } from './telemetry/schedule.ts'
import { version } from './version.ts'

/** The world of one agent; a test brings its own. */
export interface World {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly notify: Notify
}

/** Largest memory that waiting samples may take; their number is bounded by the configuration as well. */
const MAX_BUFFER_BYTES = 16 * 1024 * 1024

/** Runs the agent as this process until a signal ends it; the exit code comes back. */
export async function runAgent(config: Config): Promise<number> {
  const clock = systemClock
  const log = createLog({ level: config.log.level, clock })
  const notify = createNotify({ environment: process.env, clock, log })
  const signal = stopOnSignals()
  exitOnTheUnexpected(log)
  try {
    await liveAsAgent(config, { clock, log, notify, random: Math.random }, signal)
    return 0
  } catch (error) {
    if (signal.aborted) return 0
    const failure = asFailure(error)
    log.failure(failure, { event: 'the agent cannot run' })
    return failure.code === 'CONFIG_INVALID' ? 78 : 1
  }
}

/**
 * The story of a boot, and of all that follows until `signal` aborts. Shutdown is the reverse.
 *
 * @throws Failure AGENT_ALREADY_RUNNING, KEY_EXPOSED, CONFIG_INVALID, STATE_UNWRITABLE and others that end a start
 */
export async function liveAsAgent(config: Config, world: World, signal: AbortSignal): Promise<void> {
  const { clock, log, notify } = world
  const { registrationId } = config.device
  log.info('starting', { version, node: process.versions.node, registrationId, idScope: config.dps.idScope })
  const ca = await readAuthorities(config)
  await makePrivateFolder(config.paths.stateDir)

  const facts = createFacts(clock.now())
  await using spool = openSpool(config, world, facts)
  const schedule = createTelemetry(config, world, facts, spool)
  const surroundings = { config, spool, intervalMs: () => schedule.intervalMs() }
  const attendance: Attendance = { ...world, config, facts, surroundings, schedule }
  await using _control = await openControl({
    path: config.paths.controlSocket,
    clock,
    onFailure: (failure) => log.failure(failure, { event: 'control socket' }),
    answer(request) {
      logHealth(attendance)
      return answer(request, () => statusOf(facts, surroundings, clock.now()))
    },
  })
  const identity = await openIdentity(attendance)
  await notify.ready('looking for a certificate')

  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  // The samples begin with the first certificate: before it there is nobody to send them to, and none would be newer.
  const work = [
    identity.each((credential, until) => keepConnected(credential, ca, attendance, until), stop),
    identity.first(stop).then(() => schedule.run(stop)),
    notify.feedWatchdog(() => true, stop),
  ]
  try {
    await untilStopped(work, signal)
  } finally {
    log.info('stopping')
    over.abort(signal.reason)
    await Promise.allSettled([...work, notify.stopping()])
    log.info('stopped', { acknowledged: facts.acknowledged, unsent: spool.level().depth })
  }
}

/** Resolves when `signal` aborts; fails as soon as one of the works does. */
async function untilStopped(work: readonly Promise<unknown>[], signal: AbortSignal): Promise<void> {
  try {
    await Promise.all(work)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function openSpool(config: Config, { clock, log }: World, facts: Facts): Spool {
  const limits = { maxSamples: config.telemetry.bufferSamples, maxBytes: MAX_BUFFER_BYTES }
  return createBuffer(limits, (sample, cause) => {
    facts.lastDroppedAtMs = clock.now()
    log.debug('a sample was given up', { messageId: sample.id, cause })
  })
}

function createTelemetry(config: Config, { clock, log }: World, facts: Facts, spool: Spool): Schedule {
  const take = createDeviceSource({
    read: createMetricsReader({ stateFolder: config.paths.stateDir, clock }),
    clock,
    identity: () => ({ deviceId: facts.device?.deviceId ?? config.device.registrationId, authType: 'x509' }),
  })
  return createSchedule({
    clock,
    intervalMs: config.telemetry.intervalSeconds * 1000,
    take: async () => spool.append(await take()),
    onFailure: (failure) => log.failure(failure, { event: 'a sample could not be taken' }),
  })
}

function answer(request: ControlRequest, status: () => unknown): unknown {
  if (request.ask === 'status') return status()
  throw new Failure('USAGE', `there is nothing to answer to ${request.ask}`)
}

/** @throws Failure CONFIG_INVALID */
async function readAuthorities(config: Config): Promise<string | undefined> {
  const { caFile } = config.tls
  if (caFile === undefined) return undefined
  try {
    return await readFile(caFile, 'utf8')
  } catch (cause) {
    throw new Failure('CONFIG_INVALID', `tls.caFile ${caFile} cannot be read: ${errorCode(cause) ?? String(cause)}`, {
      cause,
    })
  }
}
