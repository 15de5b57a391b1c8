import { asFailure, Failure } from '../failure.ts'
import type { CommandEnvironment } from './credential-command.ts'
import { exitCodes } from './exit-codes.ts'
import { shapeOf } from './json-or-lines.ts'
import { postTelemetry } from './telemetry-client.ts'
import type { Post, Posted, PostRefusal } from './telemetry-client.ts'

export interface SendOptions {
  /** `telemetry.sock` in the runtime folder. */
  readonly socket: string
  /** JSON, or `-` for stdin, which is JSON or lines of it. */
  readonly sample: string
  readonly stream?: string | undefined
  readonly priority?: string | undefined
  readonly severity?: string | undefined
  readonly component?: string | undefined
  readonly durability?: string | undefined
  /** `NAME=VALUE` each. */
  readonly property?: readonly string[] | undefined
  readonly json?: boolean | undefined
}

type Environment = Pick<CommandEnvironment, 'stdout' | 'stderr' | 'stdin' | 'clock'>

const said = ['stream', 'priority', 'severity', 'component', 'durability'] as const

/**
 * `send`: hands samples to the running agent.
 *
 * @returns exit code: 0 stored, 1 refused or failed, 2 the command line is not understood, 5 the agent is not running
 */
export async function runSend(io: Environment, options: SendOptions): Promise<number> {
  try {
    const { socket } = options
    const query = queryOf(options)
    const posted = await postTelemetry({ socket, clock: io.clock, query, ...(await contentOf(io, options)) })
    if (posted.refusal !== undefined) return refuse(io, posted.refusal, posted.stored, options)
    tell(io, posted, options)
    return exitCodes.fine
  } catch (error) {
    const { code, message, advice } = asFailure(error)
    return refuse(io, { code, message, advice }, 0, options)
  }
}

async function contentOf(io: Environment, { sample }: SendOptions): Promise<Pick<Post, 'contentType' | 'body'>> {
  if (sample === '-') return shapeOf(io.stdin)
  return { contentType: 'application/json', body: [sample] }
}

/** @throws Failure USAGE a property without a name, without a value, or twice */
function queryOf(options: SendOptions): string {
  const query = new URLSearchParams()
  for (const name of said) {
    const value = options[name]
    if (value !== undefined) query.set(name, value)
  }
  for (const property of options.property ?? []) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(property) ?? []
    if (name === undefined || value === undefined) throw usage(`--property is NAME=VALUE, is ${property}`)
    if (query.has(`property.${name}`)) throw usage(`--property ${name} comes twice`)
    query.set(`property.${name}`, value)
  }
  return query.toString()
}

function tell(io: Environment, { stored, ids }: Posted, { json, durability = 'synced' }: SendOptions): void {
  if (json === true) return print(io, { ok: true, exitCode: exitCodes.fine, stored, durability, ...(ids && { ids }) })
  const id = ids?.length === 1 ? `, ID ${ids[0]}` : ''
  io.stdout(`${stored} ${stored === 1 ? 'sample' : 'samples'} stored (${durability})${id}\n`)
}

function refuse(io: Environment, refusal: PostRefusal, stored: number, { json }: SendOptions): number {
  const { line, ...failure } = refusal
  const exitCode = exitOf(failure.code)
  if (json === true) print(io, { ok: false, exitCode, stored, ...(line !== undefined && { line }), failure })
  else {
    io.stderr(`${failure.code}: ${failure.message}\n  ${failure.advice}\n`)
    if (line !== undefined) io.stderr(`  ${stored} stored; the first that is not is line ${line}.\n`)
  }
  return exitCode
}

function exitOf(code: string): number {
  if (code === 'AGENT_NOT_RUNNING') return exitCodes.agentNotRunning
  return code === 'USAGE' ? exitCodes.usage : exitCodes.failed
}

function usage(fact: string): Failure {
  return new Failure('USAGE', fact)
}

function print(io: Environment, value: object): void {
  io.stdout(`${JSON.stringify(value, undefined, 2)}\n`)
}
