import { askReload, restartText } from '../control/reload.ts'
import type { ReloadAnswer } from '../control/reload.ts'
import { asFailure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

export interface ReloadOptions {
  /** `control.sock` in the runtime folder. */
  readonly socket: string
  readonly clock: Clock
}

/**
 * `reload`: has the running agent take up its configuration, and prints which keys it took and which need a restart. The
 * environment of the agent's process is that of its start: a changed `Environment=` of the unit needs a restart.
 *
 * @returns exit code: 0 taken up as far as that goes, 78 the configuration is invalid and nothing has changed, 5 the
 *   agent is not running, 1 anything else
 */
export async function runReload(io: Output, { socket, clock }: ReloadOptions): Promise<number> {
  try {
    const answer = await askReload({ path: socket, clock })
    if (!('ok' in answer)) return print(io, answer)
    if (answer.code !== 'CONFIG_INVALID') return refuse(io, answer)
    // Its message is the list of all problems, each with its remedy.
    io.stderr(answer.message)
    return exitCodes.configurationInvalid
  } catch (error) {
    const failure = asFailure(error)
    refuse(io, failure)
    return failure.code === 'AGENT_NOT_RUNNING' ? exitCodes.agentNotRunning : exitCodes.failed
  }
}

function print(io: Output, { taken, overruled, pending, begins }: ReloadAnswer): number {
  const restart = restartText(pending)
  const lines = [
    ...(begins === true ? ['what the agent waited for is there: it begins'] : []),
    ...(taken.length > 0 ? [`taken up: ${taken.join(', ')}`] : []),
    ...(overruled.length > 0 ? [`the device twin goes before: ${overruled.join(', ')}`] : []),
    ...(restart === undefined ? [] : [restart]),
  ]
  io.stdout(`${(lines.length === 0 ? ['nothing has changed'] : lines).join('\n')}\n`)
  return exitCodes.fine
}

function refuse(
  io: Output,
  failure: { readonly code: string; readonly message: string; readonly advice: string },
): number {
  io.stderr(`${failure.code}: ${failure.message}\n  ${failure.advice}\n`)
  return exitCodes.failed
}
