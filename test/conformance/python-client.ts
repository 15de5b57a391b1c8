/** Microsoft's Python client as a child process: commands go in, answers and events come out (python/client.py). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { DPS, ID_SCOPE } from './azure.ts'
import {
  Refusal,
  type ConnectionWish,
  type Device,
  type OfficialClient,
  type Properties,
  type Registration,
  type RegistrationWish,
} from './client.ts'
import { createInbox, type Inbox } from './inbox.ts'

const refusals: OfficialClient['refusals'] = {
  connack: { name: 'CredentialError', text: /UnauthorizedError: Connection Refused: (not authorised|bad user name)/i },
  dpsConnack: {
    name: 'CredentialError',
    text: /UnauthorizedError: Connection Refused: (not authorised|bad user name)/i,
  },
  '401': { name: 'ClientError', text: /ServiceError: .*status code 401/ },
  '404': { name: 'ClientError', text: /ServiceError: .*status code 404/ },
  failed: { name: 'ClientError', text: /ServiceError: .*failed registration status/ },
}

/** The clients of both transports; `caFile` says whom they trust. */
export function pythonClients(caFile: string): readonly OfficialClient[] {
  return [
    { name: 'Python, MQTT', websockets: false },
    { name: 'Python, MQTT over WebSocket', websockets: true },
  ].map(({ name, websockets }) => ({
    name,
    refusals,
    async register(wish) {
      await using python = await startPython(caFile)
      return (await python.call('register', { ...registrationOf(wish), websockets })) as Registration
    },
    async open(wish) {
      const python = await startPython(caFile)
      try {
        await python.call('open', { ...connectionOf(wish), websockets })
      } catch (cause) {
        await python[Symbol.asyncDispose]()
        throw cause
      }
      return deviceOf(python)
    },
  }))
}

/** Environment in which a Python program trusts the certificate authorities of `caFile` and nothing else. */
export function trusting(caFile: string): NodeJS.ProcessEnv {
  const { SSL_CERT_DIR: _, ...rest } = process.env
  return { ...rest, SSL_CERT_FILE: caFile, PYTHONDONTWRITEBYTECODE: '1' }
}

/**
 * Runs a Python program as it is until `enough` resolves, then ends it as Ctrl+C does. What it logged comes back.
 *
 * @throws Error with what it logged, when it ends by itself
 */
export async function runProgram(
  file: string,
  environment: NodeJS.ProcessEnv,
  enough: () => Promise<unknown>,
): Promise<string> {
  const child = spawn(interpreter(), [file], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString()
  })
  const closed = once(child, 'close')
  const early = closed.then(([code]) => Promise.reject(new Error(`the program ended with ${String(code)}:\n${said}`)))
  try {
    await Promise.race([enough(), early])
  } finally {
    child.kill('SIGINT')
    await closed
    await early.catch(() => undefined)
  }
  return said
}

interface Python extends AsyncDisposable {
  /** @throws Refusal named as the exception in Python */
  call(command: string, values?: object): Promise<unknown>
  readonly inbox: Inbox
}

interface Line {
  readonly call?: number
  readonly event?: string
  readonly value?: unknown
  readonly error?: string
  readonly causes?: readonly string[]
}

function interpreter(): string {
  const path = process.env['CONFORMANCE_PYTHON']
  if (path === undefined) throw new Error('CONFORMANCE_PYTHON is not set: run scripts/conformance')
  return path
}

/** What it writes to stderr is in the error when it ends early. */
async function startPython(caFile: string): Promise<Python> {
  const program = fileURLToPath(new URL('python/client.py', import.meta.url))
  const child = spawn(interpreter(), [program], { env: trusting(caFile), stdio: 'pipe' })
  const answers = createInbox()
  const inbox = createInbox()
  let calls = 0
  let said = ''

  child.stderr.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-20_000)
  })
  createInterface(child.stdout).on('line', (text) => {
    const line = JSON.parse(text) as Line
    if (line.event === undefined) answers.put(String(line.call), line)
    else inbox.put(line.event, line.value)
  })
  const closed = once(child, 'close')
  child.once('close', (code, signal) => {
    const reason = new Error(`the Python client ended with ${code ?? signal}:\n${said}`)
    answers.close(reason)
    inbox.close(reason)
  })
  await inbox.next('ready')
  return {
    inbox,
    async call(command, values = {}) {
      calls += 1
      const call = calls
      child.stdin.write(`${JSON.stringify({ call, do: command, with: values })}\n`)
      const line = (await answers.next(String(call))) as Line
      if (line.error === undefined) return line.value
      throw new Refusal(line.error, (line.causes ?? []).join(' < '))
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

function deviceOf(python: Python): Device {
  const { inbox } = python
  return {
    send: async (message) => void (await python.call('send', message)),
    twin: () => python.call('twin') as ReturnType<Device['twin']>,
    report: async (patch) => void (await python.call('report', patch)),
    listen: async () => void (await python.call('listen')),
    nextMessage: () => inbox.next('message') as ReturnType<Device['nextMessage']>,
    async nextDesired(version) {
      for (;;) {
        const patch = (await inbox.next('desired')) as Properties
        if (Number(patch['$version']) > version) return patch
      }
    },
    nextMethod: () => inbox.next('method') as ReturnType<Device['nextMethod']>,
    async disconnected() {
      while ((await inbox.next('connection')) === true);
    },
    async [Symbol.asyncDispose]() {
      await python.call('close')
      await python[Symbol.asyncDispose]()
    },
  }
}

function registrationOf({ registrationId, proof, idScope = ID_SCOPE }: RegistrationWish): object {
  const shown = 'key' in proof ? { key: proof.key } : { certificate: proof.chainFile, keyFile: proof.keyFile }
  return { host: DPS, registrationId, idScope, ...shown }
}

function connectionOf(wish: ConnectionWish): object {
  if (!('credential' in wish)) return wish
  const { host, deviceId, credential } = wish
  return { host, deviceId, certificate: credential.chainFile, keyFile: credential.keyFile }
}
