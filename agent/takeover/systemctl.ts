import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Failure } from '../failure.ts'

/** The service of this package. */
export const OUR_UNIT = 'iot-device-agent.service'

/** Starts the service again after one that failed for good. */
export const OUR_TIMER = 'iot-device-agent-revive.timer'

/** What is asked of systemd. Each is fine when all is so already. */
export interface Systemctl {
  daemonReload(): Promise<void>
  /** Resolves when it has stopped; a unit that systemd does not know has. */
  stop(unit: string): Promise<void>
  /** Does not wait until the service says that it is ready. */
  start(unit: string): Promise<void>
  enable(unit: string): Promise<void>
  disable(unit: string): Promise<void>
  mask(unit: string): Promise<void>
  unmask(unit: string): Promise<void>
  isActive(unit: string): Promise<boolean>
  isEnabled(unit: string): Promise<boolean>
}

/** Longest that one call may take, a stop with its own time limit of 90 s included. */
const WITHIN_MS = 120_000

const run = promisify(execFile)

/** The systemd of this machine. Every method throws Failure IMPORT_SYSTEMCTL. */
export function createSystemctl(command = 'systemctl'): Systemctl {
  const call = async (...words: readonly string[]) => {
    const { code, said } = await ask(command, words)
    if (code !== 0) throw new Failure('IMPORT_SYSTEMCTL', `${command} ${words.join(' ')} ended with ${code}: ${said}`)
  }
  return {
    daemonReload: () => call('daemon-reload'),
    async stop(unit) {
      const { code, said } = await ask(command, ['stop', unit])
      if (code === 0 || code === NOT_LOADED) return
      throw new Failure('IMPORT_SYSTEMCTL', `${command} stop ${unit} ended with ${code}: ${said}`)
    },
    async start(unit) {
      // A service that failed often is refused otherwise. One that systemd does not know as failed has nothing to reset.
      await ask(command, ['reset-failed', unit])
      await call('start', '--no-block', unit)
    },
    enable: (unit) => call('enable', unit),
    disable: (unit) => call('disable', unit),
    mask: (unit) => call('mask', unit),
    unmask: (unit) => call('unmask', unit),
    isActive: async (unit) => (await ask(command, ['is-active', unit])).said === 'active',
    isEnabled: async (unit) => /^(enabled|alias)$/.test((await ask(command, ['is-enabled', unit])).said),
  }
}

/** "program not installed": systemctl's word for a unit that is not loaded. Source: systemctl(1), exit status. */
const NOT_LOADED = 5

/** Ends that say something are answers; a program that cannot be run is none. */
async function ask(command: string, words: readonly string[]): Promise<{ code: number; said: string }> {
  try {
    const { stdout } = await run(command, [...words], { timeout: WITHIN_MS })
    return { code: 0, said: stdout.trim() }
  } catch (cause) {
    const { code, stdout = '', stderr = '' } = cause as { code?: number | string; stdout?: string; stderr?: string }
    const said = (stderr.trim() || stdout.trim()).split('\n')[0] ?? ''
    if (typeof code === 'number') return { code, said }
    throw new Failure(
      'IMPORT_SYSTEMCTL',
      `${command} ${words.join(' ')} could not be run: ${code ?? 'it took too long'}`,
      { cause },
    )
  }
}
