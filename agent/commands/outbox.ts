import { askAsideBody, askOutbox } from '../control/outbox.ts'
import { formatOutbox } from '../control/outbox-text.ts'
import { asFailure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

export interface OutboxCommandOptions {
  /** `control.sock` in the runtime folder. */
  readonly socket: string
  readonly clock: Clock
  /** ID of a sample that was set aside: only its body is printed, as it is. */
  readonly body?: string | undefined
  readonly json?: boolean
}

interface Printer extends Pick<Output, 'stderr'> {
  readonly stdout: (content: string | Uint8Array) => void
}

/**
 * `outbox`: what waits for the hub, what was given up, and what was set aside and why.
 *
 * @returns exit code: 0 shown, 1 failed, 5 the agent is not running
 */
export async function runOutbox(io: Printer, options: OutboxCommandOptions): Promise<number> {
  const { socket, clock, body, json = false } = options
  try {
    if (body !== undefined) io.stdout(await askAsideBody(body, { path: socket, clock }))
    else {
      const view = await askOutbox({ path: socket, clock })
      io.stdout(json ? toJson({ ok: true, ...view }) : `${formatOutbox(view).join('\n')}\n`)
    }
    return exitCodes.fine
  } catch (error) {
    const { code, message, advice } = asFailure(error)
    const exitCode = code === 'AGENT_NOT_RUNNING' ? exitCodes.agentNotRunning : exitCodes.failed
    if (json) io.stdout(toJson({ ok: false, exitCode, failure: { code, message, advice } }))
    else io.stderr(`${code}: ${message}\n  ${advice}\n`)
    return exitCode
  }
}

function toJson(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
