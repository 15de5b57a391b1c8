/** A whole device: a folder, and the agent in it, inside the process of the test or as a process of its own. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { liveAsAgent } from '../../agent/agent.ts'
import type { World } from '../../agent/agent.ts'
import { loadConfig } from '../../agent/config/load.ts'
import type { Config } from '../../agent/config/paths.ts'
import { askStatus } from '../../agent/control/status.ts'
import type { Status } from '../../agent/control/status.ts'
import { asFailure, Failure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { createLog } from '../../agent/system/log.ts'
import { createNotify } from '../../agent/system/notify.ts'
import type { ClockTrustWatch } from '../../agent/time/watch.ts'
import type { DeviceCredential } from '../cloud/authority.ts'
import { createJournal } from './journal.ts'
import type { Journal } from './journal.ts'
import { makeTemporaryFolder } from './openssl.ts'
import { runProgram, sourceProgram, startProgram } from './program.ts'
import type { AgentProcess, Program, Ran, Variables } from './program.ts'

/** What a device needs to know of its cloud. */
export interface Surroundings {
  readonly dpsAddress: string
  readonly idScope: string
  readonly caFile: string
}

export interface DeviceOptions {
  readonly registrationId: string
  /** config.toml; there is none when left out. */
  readonly toml?: string
  /** Laid over the variables that every device has; an empty text takes one away. */
  readonly environment?: Variables
  /** A key and certificate that are there already, as the Python client had them. */
  readonly pair?: Pick<DeviceCredential, 'chainFile' | 'keyFile'>
  /** Where its folders are; a temporary one when left out. */
  readonly folder?: string
  /** The sources when left out. */
  readonly program?: Program
}

/** A device that may be switched on and off; its folders stay. */
export interface Device extends AsyncDisposable {
  readonly registrationId: string
  readonly folder: string
  readonly stateDir: string
  readonly variables: Variables
  readonly config: Config
  /** Writes config.toml anew, for the next boot. */
  configure(toml: string): Promise<void>
  /** Runs the agent in this process. What the world lacks is real. */
  boot(world?: Partial<World>): BootedAgent
  /** Runs the agent as a process. */
  start(more?: Variables): AgentProcess
  /** Runs one command of the program. */
  run(...args: readonly string[]): Promise<Ran>
  /** Whether the path below the state folder exists. */
  has(path: string): Promise<boolean>
  read(path: string): Promise<string>
}

/** The agent in the process of the test. */
export interface BootedAgent extends AsyncDisposable {
  readonly journal: Journal
  /** How it ended: undefined when it was told to. */
  readonly over: Promise<Failure | undefined>
  /** Over the control socket. */
  status(): Promise<Status>
  /** Asks for the status until it fits. */
  until(fits: (status: Status) => boolean, withinMs?: number): Promise<Status>
  stop(): Promise<Failure | undefined>
}

/** Lays out an empty device; nothing of it runs yet. What still runs at the end of the block is ended. */
export async function makeDevice(cloud: Surroundings, options: DeviceOptions): Promise<Device> {
  const temporary = options.folder === undefined ? await makeTemporaryFolder() : undefined
  const folder = options.folder ?? temporary?.path ?? ''
  const stateDir = join(folder, 'state')
  const runtimeDir = join(folder, 'run')
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  await mkdir(runtimeDir, { mode: 0o700 })
  const configDir = join(folder, 'etc')
  await mkdir(configDir, { recursive: true })
  if (options.toml !== undefined) await writeFile(join(configDir, 'config.toml'), options.toml)
  const variables = only({
    PATH: process.env['PATH'] ?? '',
    DPS_HOST: cloud.dpsAddress,
    DPS_ID_SCOPE: cloud.idScope,
    DEVICE_ID: options.registrationId,
    TELEMETRY_INTERVAL: '1',
    IOT_AGENT_LOG_LEVEL: 'debug',
    IOT_AGENT_CA_FILE: cloud.caFile,
    IOT_AGENT_STATE_DIR: stateDir,
    IOT_AGENT_RUNTIME_DIR: runtimeDir,
    IOT_AGENT_CONFIG_DIR: configDir,
    ...(options.pair && { CERT_PATH: options.pair.chainFile, KEY_PATH: options.pair.keyFile }),
    ...options.environment,
  })
  const program = options.program ?? sourceProgram
  const config = configOf(variables)
  const running: AsyncDisposable[] = []
  const keep = <T extends AsyncDisposable>(agent: T): T => {
    running.push(agent)
    return agent
  }
  const path = (name: string) => join(stateDir, name)

  return {
    ...{ registrationId: options.registrationId, folder, stateDir, variables, config },
    configure: (toml) => writeFile(join(configDir, 'config.toml'), toml),
    boot: (world = {}) =>
      keep(bootAgent(configOf(variables), { load: () => loadConfig({ environment: variables }), ...world })),
    start: (more = {}) => keep(startProgram(program, { ...variables, ...more })),
    run: (...args) => runProgram(program, args, variables),
    read: (name) => readFile(path(name), 'utf8'),
    has: (name) =>
      stat(path(name)).then(
        () => true,
        () => false,
      ),
    async [Symbol.asyncDispose]() {
      for (const agent of running) await agent[Symbol.asyncDispose]()
      await temporary?.[Symbol.asyncDispose]()
    },
  }
}

/** The clock of a device whose time is the test's own affair. */
const believed: ClockTrustWatch = {
  current: () => ({ trust: 'trusted', reason: 'a test says so' }),
  run: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
  suspect: () => undefined,
  proven: () => Promise.resolve(),
  untilPlausible: () => Promise.resolve(believed.current()),
  onChange: () => () => undefined,
}

function bootAgent(config: Config, world: Partial<World>): BootedAgent {
  const clock = world.clock ?? systemClock
  const journal = createJournal()
  const log = world.log ?? createLog({ level: config.log.level, clock, write: journal.write })
  const notify = world.notify ?? createNotify({ environment: {}, clock, log })
  const off = new AbortController()
  const watchClock = world.watchClock ?? (world.clock === undefined ? undefined : async () => believed)
  const { load, random = Math.random } = world
  const complete: World = { clock, log, notify, random, ...(load && { load }), ...(watchClock && { watchClock }) }
  const over = liveAsAgent(config, complete, off.signal)
    .then(() => undefined, asFailure)
    .finally(() => journal.end())
  const status = () => askStatus({ path: config.paths.controlSocket, clock: systemClock })
  const stop = () => {
    off.abort(new Error('switched off'))
    return over
  }
  return {
    ...{ journal, over, status, stop },
    async until(fits, withinMs) {
      let last: Status | undefined
      const ask = async () => {
        last = await status().catch(unlessFailure)
        return last !== undefined && fits(last) ? last : undefined
      }
      return eventually(ask, { withinMs, seen: () => `${JSON.stringify(last)}\n${journal.text()}` })
    },
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

/** An agent that does not answer yet, or no longer, is asked again. */
function unlessFailure(error: unknown): undefined {
  if (!(error instanceof Failure)) throw error
}

interface Patience {
  /** Real milliseconds; 20 s when left out. */
  readonly withinMs?: number | undefined
  /** What the failure shows beside. */
  readonly seen?: () => string
}

/** Asks until there is an answer. */
export async function eventually<T>(ask: () => Promise<T | undefined>, patience: Patience = {}): Promise<T> {
  const { withinMs = 20_000, seen = () => ask.toString() } = patience
  const from = performance.now()
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() - from > withinMs) throw new Error(`no answer within ${withinMs} ms: ${seen()}`)
    await setImmediate()
  }
}

function configOf(variables: Variables): Config {
  const loaded = loadConfig({ environment: variables })
  if (loaded.ok) return loaded.value
  throw new Error(`the device is not configured well: ${JSON.stringify(loaded.problems)}`)
}

/** The variables that have a value. */
function only(variables: Variables): Variables {
  return Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''))
}
