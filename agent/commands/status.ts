import { formatStatus } from '../control/status-text.ts'
import { askStatus } from '../control/status.ts'
import { judge } from '../control/verdict.ts'
import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

export interface StatusOptions {
  /** `control.sock` in the runtime folder. */
  readonly socket: string
  readonly clock: Clock
  readonly json?: boolean
}

/**
 * `status`: answers "is this device safe?".
 *
 * @returns exit code: 0 fine, 1 not connected or not to be known, 3 connected but not as wanted, 4 needs attention soon,
 *   5 the agent is not running
 */
export async function runStatus(io: Output, { socket, clock, json = false }: StatusOptions): Promise<number> {
  try {
    const status = await askStatus({ path: socket, clock })
    const { exitCode, safe, because } = judge(status)
    if (json) io.stdout(toJson({ ok: exitCode === 0, exitCode, safe, because, ...status }))
    else
      io.stdout(
        formatStatus(status)
          .map((line) => `${line}\n`)
          .join(''),
      )
    return exitCode
  } catch (error) {
    return refuse(io, asFailure(error), json)
  }
}

function refuse(io: Output, failure: Failure, json: boolean): number {
  const exitCode = failure.code === 'AGENT_NOT_RUNNING' ? exitCodes.agentNotRunning : exitCodes.failed
  const { code, message, advice } = failure
  if (json) io.stdout(toJson({ ok: false, exitCode, safe: 'unknown', failure: { code, message, advice } }))
  else io.stderr(`${code}: ${message}\n${advice}\n`)
  return exitCode
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
