/** A device of the demo: a folder, and the built agent as a real process of its own. */
import { makeDevice as makeTestDevice } from '../../test/kit/device.ts'
import type { Surroundings } from '../../test/kit/device.ts'
import type { LogLine } from '../../test/kit/journal.ts'
import { builtProgram } from '../../test/kit/program.ts'
import type { AgentProcess, Ran, Variables } from '../../test/kit/program.ts'

export { filesBelow } from '../../test/kit/program.ts'

export interface Device {
  readonly registrationId: string
  readonly stateDir: string
  /** Everything that the agent said so far, stdout and stderr, over all its starts. */
  said(): string
  /** `/proc/PID/environ` and `cmdline` of the running agent. */
  processMemory(): Promise<Buffer>
  start(): void
  /** The first log line that fits since the last start; fails when the process ends without one. */
  heard(fits: (line: LogLine) => boolean): Promise<LogLine>
  /** Runs a command of the agent on this device. */
  run(...args: string[]): Promise<Ran>
  /** SIGTERM; resolves with the milliseconds it took and the exit status. */
  stop(): Promise<{ readonly tookMs: number; readonly status: number | null }>
  kill(): void
  /** SIGKILL, and nothing of the process is left. */
  losePower(): Promise<void>
}

export interface DeviceOptions {
  readonly cloud: Surroundings
  readonly folder: string
  readonly registrationId: string
  /** config.toml; there is none when left out. */
  readonly toml?: string
  readonly environment?: Variables
}

/** Lays out an empty device; nothing of it runs yet. */
export async function makeDevice({ cloud, ...options }: DeviceOptions): Promise<Device> {
  const environment = { IOT_AGENT_LOG_LEVEL: 'info', ...options.environment }
  const device = await makeTestDevice(cloud, { ...options, environment, program: builtProgram })
  const agents: AgentProcess[] = []
  const running = () => {
    const agent = agents.at(-1)
    if (agent === undefined) throw new Error('the agent does not run')
    return agent
  }
  return {
    registrationId: device.registrationId,
    stateDir: device.stateDir,
    run: (...args) => device.run(...args),
    said: () => agents.map(({ journal }) => journal.text()).join(''),
    processMemory: () => running().processMemory(),
    start: () => void agents.push(device.start()),
    heard: (fits) => running().journal.heard(fits, { withinMs: 60_000 }),
    stop: () => running().stop(),
    kill: () => agents.at(-1)?.kill(),
    async losePower() {
      running().kill()
      await running().ended
    },
  }
}
