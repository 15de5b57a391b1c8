/** A device of the demo: a folder, and the agent as a real process of its own. */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Cloud } from '../../test/cloud/cloud.ts'

const program = fileURLToPath(new URL('../../build/iot-device-agent', import.meta.url))

/** One line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string }

export interface Device {
  readonly registrationId: string
  readonly stateDir: string
  /** Everything the agent said so far, stdout and stderr. */
  said(): string
  /** `/proc/PID/environ` and `cmdline` of the running agent. */
  processMemory(): Promise<Buffer>
  start(): void
  /** The first log line that fits, past or future; fails when the process ends without one. */
  heard(fits: (line: LogLine) => boolean): Promise<LogLine>
  /** Runs a command of the agent on this device. */
  run(...args: string[]): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }>
  /** SIGTERM; resolves with the milliseconds it took and the exit status. */
  stop(): Promise<{ readonly tookMs: number; readonly status: number | null }>
  kill(): void
}

export interface DeviceOptions {
  readonly cloud: Cloud
  readonly folder: string
  readonly registrationId: string
  readonly environment?: Readonly<Record<string, string>>
}

/** Lays out an empty device; nothing of it runs yet. */
export async function makeDevice({ cloud, folder, registrationId, environment = {} }: DeviceOptions): Promise<Device> {
  const stateDir = join(folder, 'state')
  const runtimeDir = join(folder, 'run')
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  await mkdir(runtimeDir, { mode: 0o700 })
  const variables = {
    PATH: process.env['PATH'] ?? '',
    DPS_HOST: cloud.dpsAddress,
    DPS_ID_SCOPE: cloud.idScope,
    DEVICE_ID: registrationId,
    TELEMETRY_INTERVAL: '1',
    IOT_AGENT_CA_FILE: cloud.caFile,
    IOT_AGENT_STATE_DIR: stateDir,
    IOT_AGENT_RUNTIME_DIR: runtimeDir,
    IOT_AGENT_CONFIG_DIR: join(folder, 'etc'),
    ...environment,
  }
  const chunks: Buffer[] = []
  const listeners = new Set<() => void>()
  let child: ChildProcess | undefined

  const said = () => Buffer.concat(chunks).toString('utf8')
  const running = () => {
    if (child?.pid === undefined) throw new Error('the agent does not run')
    return child
  }
  const hear = (chunk: Buffer) => {
    chunks.push(chunk)
    for (const listener of listeners) listener()
  }

  return {
    registrationId,
    stateDir,
    said,
    async processMemory() {
      const { pid } = running()
      const parts = await Promise.all(['environ', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`)))
      return Buffer.concat(parts)
    },
    start() {
      child = spawn(program, ['run'], { env: variables, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
      child.stdout?.on('data', hear)
      child.stderr?.on('data', hear)
    },
    heard(fits) {
      const process = running()
      return new Promise((resolve, reject) => {
        const leave = () => {
          listeners.delete(look)
          process.off('close', end)
        }
        const look = () => {
          const line = logLines(said()).find(fits)
          if (line === undefined) return
          leave()
          resolve(line)
        }
        const end = () => {
          leave()
          reject(new Error(`the agent of ${registrationId} ended; it said:\n${said()}`))
        }
        listeners.add(look)
        process.once('close', end)
        look()
      })
    },
    run(...args) {
      return new Promise((resolve) => {
        execFile(program, args, { env: variables, cwd: '/' }, (error, stdout, stderr) => {
          resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr })
        })
      })
    },
    async stop() {
      const process = running()
      const from = performance.now()
      const ended = once(process, 'close')
      process.kill('SIGTERM')
      const [status] = (await ended) as [number | null]
      return { tookMs: Math.round(performance.now() - from), status }
    },
    kill() {
      child?.kill('SIGKILL')
    },
  }
}

/** The whole lines so far; what is not JSON is a line with only a message. */
function logLines(text: string): readonly LogLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .filter((line) => line !== '')
    .map((line) => (line.startsWith('{') ? (JSON.parse(line) as LogLine) : { msg: line }))
}

/** Every regular file below a folder, with its content. */
export async function filesBelow(folder: string): Promise<ReadonlyMap<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)))
}
