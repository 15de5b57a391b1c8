/** The door for local programs with a recorder behind it, and clients that knock. */
import { spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Failure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { openIntake } from '../../agent/telemetry/intake/server.ts'
import type { Intake, IntakeOptions } from '../../agent/telemetry/intake/server.ts'
import type { Durability } from '../../agent/telemetry/outbox/port.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'
import { makeTemporaryFolder } from './openssl.ts'

/** When samples are taken that do not say it themselves. */
export const STAMP_MS = Date.UTC(2026, 5, 1)

export interface TestDoor extends AsyncDisposable {
  readonly path: string
  readonly folder: string
  readonly intake: Intake
  /** What was stored, in order, and how. */
  readonly samples: readonly Sample[]
  readonly groups: readonly { readonly durability: Durability; readonly count: number }[]
  readonly failures: readonly Failure[]
  bodies(): readonly string[]
}

/** An open door. `before` may delay or refuse what is to be stored. */
export async function openDoor(
  overrides: Partial<IntakeOptions> & { readonly before?: (samples: readonly Sample[]) => Promise<void> } = {},
): Promise<TestDoor> {
  const { before, ...options } = overrides
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'telemetry.sock')
  const samples: Sample[] = []
  const groups: { durability: Durability; count: number }[] = []
  const failures: Failure[] = []
  const intake = await openIntake({
    path,
    clock: systemClock,
    async append(more, durability) {
      await before?.(more)
      samples.push(...more)
      groups.push({ durability, count: more.length })
    },
    stamp: () => ({ createdAtMs: STAMP_MS }),
    health: () => ({ connected: true, sinceMs: 5, depth: 2, bytes: 30, maxBytes: 1000, dropped: { full: 1 } }),
    samplesPerSecond: 0,
    onFailure: (failure) => failures.push(failure),
    ...options,
  })
  return {
    path,
    folder: folder.path,
    intake,
    samples,
    groups,
    failures,
    bodies: () => samples.map(({ body }) => Buffer.from(body).toString('utf8')),
    async [Symbol.asyncDispose]() {
      await intake[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Asking {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer | AsyncIterable<Buffer | string>
}

/** One request by the HTTP client of Node, with its whole answer. */
export function ask(socketPath: string, asking: Asking = {}): Promise<Answered> {
  const { path = '/telemetry', method = 'POST', headers = {}, body = '' } = asking
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method, headers: { ...headers }, agent: new Agent() }, (response) => {
      call.off('error', reject)
      call.on('error', () => response.destroy())
      text(response).then(
        (said) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: said }),
        reject,
      )
    })
    call.on('error', reject)
    const isWhole = typeof body === 'string' || Buffer.isBuffer(body)
    if (isWhole) call.end(body)
    else feed(call, body).catch(reject)
  })
}

async function feed(
  call: { write(chunk: Buffer | string, done: () => void): boolean; end(): void },
  body: AsyncIterable<Buffer | string>,
): Promise<void> {
  for await (const chunk of body) await new Promise<void>((resolve) => call.write(chunk, () => resolve()))
  call.end()
}

/** Runs curl on the socket; `user` is its user ID. */
export async function curl(
  socketPath: string,
  args: readonly string[],
  how: { readonly input?: string | Buffer; readonly user?: number } = {},
): Promise<{ readonly exit: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn('curl', ['--silent', '--show-error', '--unix-socket', socketPath, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    ...(how.user !== undefined && { uid: how.user }),
  })
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  // curl may have its answer before it has read everything.
  child.stdin.on('error', () => child.stdin.destroy())
  child.stdin.end(how.input ?? '')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { exit: await exit, stdout, stderr }
}

/** A connection on which a test says every byte itself. */
export async function knock(path: string): Promise<Socket> {
  const socket = connect(path)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => socket.destroy())
  return socket
}

/** The JSON of a text, for a look at its parts. */
export function json(said: string): Readonly<Record<string, unknown>> {
  return JSON.parse(said) as Readonly<Record<string, unknown>>
}

export const NDJSON = { 'Content-Type': 'application/x-ndjson' }
export const JSON_TYPE = { 'Content-Type': 'application/json' }

/** The last line of an answer. */
export function lastOf(answered: Answered): Readonly<Record<string, unknown>> {
  return json(answered.text.trim().split('\n').at(-1) ?? '')
}

export function codeOf(answered: Answered): unknown {
  return (lastOf(answered)['error'] as { readonly code?: unknown } | undefined)?.code
}

/** A request in the form of the wire. */
export function wire(body: string, path = '/telemetry'): string {
  return `POST ${path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
