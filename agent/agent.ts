import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { openAuth } from './auth.ts'
import { handIn, waitingRequest } from './certificate.ts'
import { openClockWatch } from './clock-watch.ts'
import { exitCodes } from './commands/exit-codes.ts'
import { isAwaited } from './config/awaited.ts'
import { createLiveConfig } from './config/live.ts'
import { loadConfig } from './config/load.ts'
import type { Loaded, LoadOptions } from './config/load.ts'
import { likelyControlSocket } from './config/paths.ts'
import type { Config } from './config/paths.ts'
import { formatProblems, listProblems } from './config/problems.ts'
import { HEALTH_TICK_MS, logHealth } from './connected.ts'
import type { Attendance } from './connected.ts'
import { orderOf } from './control/order.ts'
import { answerOutbox } from './control/outbox.ts'
import { isReload } from './control/reload.ts'
import { openControl } from './control/server.ts'
import { openAudit } from './credential/audit.ts'
import { inspectKey, requireOwnFolder } from './credential/private-file.ts'
import type { AuthOrder, OrderAnswer, Rotation } from './credential/rotation-ports.ts'
import { createFacts, statusOf } from './facts.ts'
import type { Facts } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import { openFlow } from './flow.ts'
import type { Flow } from './flow.ts'
import { held } from './held.ts'
import type { Outcome } from './held.ts'
import { judgeMachine } from './machine.ts'
import { createMethods } from './methods/answer.ts'
import { answerReload, createReload, rememberStatus } from './reload.ts'
import { systemClock } from './system/clock.ts'
import type { Clock } from './system/clock.ts'
import { bounded } from './system/deadline.ts'
import { errorCode, makePrivateFolder } from './system/files.ts'
import { createLog, lastWords } from './system/log.ts'
import type { Log } from './system/log.ts'
import { createNotify } from './system/notify.ts'
import type { Notify } from './system/notify.ts'
import { onHangUp } from './system/hang-up.ts'
import { exitOnTheUnexpected, stopOnSignals } from './system/stop.ts'
import { createBell } from './telemetry/bell.ts'
import type { ClockTrustWatch } from './time/watch.ts'
import { version } from './version.ts'

/** The world of one agent; a test brings its own. */
export interface World {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly notify: Notify
  /** Judges the clock; the machine's own when left out. */
  readonly watchClock?: typeof openClockWatch
  /** Reads the configuration once more, for a reload; that of this process when left out. */
  readonly load?: () => Loaded
}

/** Time for everything to end after a signal, in milliseconds; systemd and operators are promised 2 s. */
const STOP_WITHIN_MS = 1_500

/**
 * Runs the agent as this process until a signal ends it; the exit code comes back. Under systemd a device that nobody has
 * named yet waits for its configuration; whoever starts the agent by hand is told at once.
 */
export async function runAgent(sources: LoadOptions): Promise<number> {
  const { environment } = sources
  const loaded = loadConfig(sources)
  const supervised = (environment['NOTIFY_SOCKET'] ?? '') !== ''
  if (!loaded.ok && !(supervised && isAwaited(loaded.problems))) {
    process.stderr.write(lastWords(formatProblems(loaded.problems)))
    return exitCodes.configurationInvalid
  }
  const clock = systemClock
  const log = createLog({ level: loaded.ok ? loaded.value.log.level : 'info', clock })
  const notify = createNotify({ environment, clock, log })
  const signal = stopOnSignals()
  exitOnTheUnexpected(log)
  try {
    const config = await readyToLive(loaded, sources, { clock, log, notify }, signal)
    await liveAsAgent(config, { clock, log, notify, random: Math.random, load: () => loadConfig(sources) }, signal)
    return 0
  } catch (error) {
    if (signal.aborted) return 0
    const failure = asFailure(error)
    // Whatever its kind and the level of the log: these are the last words of this process.
    log.setLevel('info')
    log.failure(failure, { event: 'the agent cannot run' })
    return failure.code === 'CONFIG_INVALID' ? exitCodes.configurationInvalid : exitCodes.failed
  }
}

/** Waits for a configuration that names this device, and for a machine that its state belongs to. */
async function readyToLive(
  loaded: Loaded,
  sources: LoadOptions,
  world: Pick<World, 'clock' | 'log' | 'notify'>,
  signal: AbortSignal,
): Promise<Config> {
  const { log } = world
  const unnamed = { ...world, socket: likelyControlSocket(sources.environment) }
  const look = () => Promise.resolve(configurationOf(loadConfig(sources)))
  const config = loaded.ok ? loaded.value : await held(look, unnamed, signal)
  log.setLevel(config.log.level)
  const { paths } = config
  await makePrivateFolder(paths.stateDir)
  await requireOwnFolder(paths.stateDir)
  const judged = async () => {
    const failure = await judgeMachine(paths, world)
    return failure === undefined ? { value: undefined } : { failure }
  }
  await held(judged, { ...world, socket: paths.controlSocket }, signal)
  return config
}

function configurationOf(loaded: Loaded): Outcome<Config> {
  if (loaded.ok) return { value: loaded.value }
  if (!isAwaited(loaded.problems)) return { failure: new Failure('CONFIG_INVALID', listProblems(loaded.problems)) }
  const missing = loaded.problems.map(({ key, problem }) => `${key}: ${problem}`)
  return { failure: new Failure('CONFIG_AWAITED', `waiting for a configuration: ${missing.join('; ')}`) }
}

/**
 * The story of a boot, and of all that follows until `signal` aborts. Shutdown is the reverse.
 *
 * @throws Failure AGENT_ALREADY_RUNNING, KEY_EXPOSED, CONFIG_INVALID, STATE_UNWRITABLE and others that end a start
 */
export async function liveAsAgent(first: Config, world: World, signal: AbortSignal): Promise<void> {
  const { clock, random, log } = world
  const notify = rememberStatus(world.notify)
  const live = createLiveConfig(first)
  const { config } = live
  const { registrationId } = config.device
  log.info('starting', { version, node: process.versions.node, registrationId, idScope: config.dps.idScope })
  const ca = await readAuthorities(config)
  await makePrivateFolder(config.paths.stateDir)
  await requireOwnFolder(config.paths.stateDir)

  const facts = createFacts(clock.now())
  await using flow = await openFlow({ config, clock, random, log, facts })
  const { outbox, schedule, forwarder } = flow
  const surroundings = { config, outbox, intervalMs: () => schedule.intervalMs() }
  const onTrouble = (failure: Failure) => log.failure(failure)
  const audit = await openAudit(config.paths.auditFile, clock, onTrouble)
  const status = () => statusOf(facts, surroundings, clock.now())
  const methods = createMethods({
    ...{ clock, version, status, onFailure: onTrouble },
    allowed: { has: (name) => config.methods.allowed.some((allowed) => allowed === name) },
    order: (order) => orderly(facts, order),
    setLogLevel: (level) => log.setLevel(level),
    csr: () => waitingRequest(attendance),
    installCertificate: (chain) => handIn(chain, attendance),
    audit: ({ payload, ...entry }) => void audit.append({ what: 'method', ...entry, ...payload }),
  })
  const attendance: Attendance = {
    ...{ config, clock, random, log, notify, facts, surroundings, schedule, forwarder, methods },
    news: createBell(),
  }
  const watch = await (world.watchClock ?? openClockWatch)(attendance, ca)
  facts.clock = () => watch.current()
  facts.audit = () => ({ seq: audit.head().seq, head: audit.head().hash, intact: audit.intact })
  const ready = Promise.withResolvers<void>()
  const { load = () => loadConfig({ environment: process.env }) } = world
  const { lastStatus } = notify
  const reload = createReload({ live, flow, load, ready: ready.promise, lastStatus }, attendance, signal)
  await using _control = await openControl({
    path: config.paths.controlSocket,
    clock,
    onFailure: (failure) => log.failure(failure, { event: 'control socket' }),
    answer(request) {
      logHealth(attendance)
      if (request.ask === 'status') return status()
      if (request.ask === 'outbox') return answerOutbox(request, outbox, clock.now())
      if (isReload(request)) return answerReload(reload)
      return orderly(facts, orderOf(request))
    },
  })
  using _hangUps = onHangUp(() => void reload())
  const rotation = await openAuth(
    {
      ca,
      audit,
      watch,
      sendSomething() {
        if (forwarder.facts().inFlight === 0) flow.sendOne()
      },
    },
    attendance,
  )

  await openDoor(flow, log)
  watch.onChange((now, before) => {
    if (before.trust === 'wrong' && now.trust !== 'wrong') rotation.clockMended()
  })

  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  const work: Promise<unknown>[] = []
  try {
    await untilStopped([unlessAborted(notify.ready('looking for a certificate'), signal)], signal)
    ready.resolve()
    if (!signal.aborted) work.push(...begin({ rotation, watch, flow }, attendance, stop))
    await untilStopped(work, signal)
  } finally {
    log.info('stopping')
    over.abort(signal.reason)
    await endWithin(STOP_WITHIN_MS, [...work, notify.stopping()], world)
    log.info('stopped', { acknowledged: facts.acknowledged, unsent: outbox.level().depth })
  }
}

/** Everything that goes on at the same time from now on. */
function begin(
  { rotation, watch, flow }: { readonly rotation: Rotation; readonly watch: ClockTrustWatch; readonly flow: Flow },
  attendance: Attendance,
  signal: AbortSignal,
): readonly Promise<unknown>[] {
  const { clock, config, facts, notify } = attendance
  const believed = watch.untilPlausible(config.clock.syncWaitSeconds * 1000, signal)
  return [
    watch.run(signal),
    // A clock that is wrong is given time to find back: neither token nor certificate would be judged rightly before.
    believed.then(() => rotation.run(signal)),
    // Samples begin with the first credential: before it there is nobody to send them to, and none would be newer.
    untilBorn(attendance, signal).then(() => allOf(flow.measure(signal), signal)),
    notify.feedWatchdog(() => keepsPromises(facts, clock.monotonicMs()), signal),
    watchHealth(attendance, signal),
  ]
}

/** Fails as soon as one fails; but once `signal` has aborted, all have ended before: what they write needs a place. */
async function allOf(work: readonly Promise<unknown>[], signal: AbortSignal): Promise<void> {
  try {
    await Promise.all(work)
  } finally {
    if (signal.aborted) await Promise.allSettled(work)
  }
}

async function untilBorn({ facts, news }: Attendance, signal: AbortSignal): Promise<void> {
  while (facts.rotation?.record().lifecycle.phase === 'newborn') await news.next(signal)
}

/**
 * Looks at the key and judges the warnings while nothing else does: those of a device without a session must reach the
 * log as well, and so must a key that was laid open after the start.
 */
async function watchHealth(attendance: Attendance, signal: AbortSignal): Promise<never> {
  const { clock, facts, log } = attendance
  for (;;) {
    await clock.wait(HEALTH_TICK_MS, signal)
    if (facts.credential !== undefined) {
      const found = await inspectKey(facts.credential).catch(asFailure)
      if (found instanceof Failure) log.failure(found)
      else facts.key = found
    }
    logHealth(attendance)
  }
}

/** Settles as `work` does, or rejects with the reason of the abort: a supervisor that does not listen holds nobody. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const aborted = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true, signal: over.signal })
  })
  try {
    await Promise.race([work, aborted])
  } finally {
    over.abort()
  }
}

/** Waits until all has ended, well or not. What does not end in time, as the making of a large key, is left behind. */
async function endWithin(withinMs: number, work: readonly Promise<unknown>[], { clock, log }: World): Promise<void> {
  const limit = { clock, withinMs, code: 'UNEXPECTED', what: 'stopping' } as const
  await bounded(Promise.allSettled(work), limit).catch((error: unknown) => log.warn(asFailure(error).message))
}

/** Resolves when `signal` aborts; fails as soon as one of the works does. */
async function untilStopped(work: readonly Promise<unknown>[], signal: AbortSignal): Promise<void> {
  try {
    await Promise.all(work)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** An agent whose door cannot be opened still has its own measurements to send, and a credential to keep. */
async function openDoor(flow: Flow, log: Log): Promise<void> {
  const failure = await flow.openDoor().then(() => undefined, asFailure)
  if (failure !== undefined) log.failure(failure, { event: 'local programs cannot send' })
}

/** Whether everything that goes on is as far as it has promised to be. */
export function keepsPromises({ promises }: Pick<Facts, 'promises'>, nowMs: number): boolean {
  return [...promises.values()].every((dueMs) => nowMs < dueMs)
}

/** @throws Failure AUTH_BUSY before the agent knows where it stands */
async function orderly({ rotation }: Facts, order: AuthOrder): Promise<OrderAnswer> {
  if (rotation === undefined) throw new Failure('AUTH_BUSY', 'the agent is starting')
  return rotation.order(order)
}

/** @throws Failure CONFIG_INVALID, CA_FILE_UNREADABLE */
async function readAuthorities(config: Config): Promise<string | undefined> {
  const { caFile } = config.tls
  if (caFile === undefined) return undefined
  const pem = await readFile(caFile, 'utf8').catch((cause: unknown) => {
    throw new Failure('CA_FILE_UNREADABLE', `tls.caFile ${caFile}: ${errorCode(cause) ?? String(cause)}`, { cause })
  })
  try {
    // TLS passes over what it cannot read, and would then trust nobody.
    void new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw useless(caFile, 'does not begin with a certificate in PEM', cause)
  }
}

function useless(caFile: string, fact: string, cause: unknown): Failure {
  return new Failure('CONFIG_INVALID', `tls.caFile ${caFile} ${fact}`, { cause })
}
