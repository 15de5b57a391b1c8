import { askOrder } from '../control/order.ts'
import type { AuthOrder, OrderAnswer } from '../credential/rotation-ports.ts'
import { asFailure, entryOf } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { askProgress, awaitMove } from './await-move.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

export interface OrderOptions {
  /** `control.sock` in the runtime folder. */
  readonly socket: string
  readonly clock: Clock
  readonly order: AuthOrder['order']
  /** Only say what would happen. */
  readonly rehearse: boolean
  /** Stay until the move has ended; for `sas` and `x509`. */
  readonly wait?: boolean
}

/**
 * `auth sas|x509`, `renew`, `reprovision`: gives an order to the running agent and prints its steps, one a line.
 *
 * @returns exit code: 0 accepted (with `wait`: and the wanted way is in use), 1 refused or failed, 5 the agent is not
 *   running
 */
export async function runOrder(io: Output, options: OrderOptions): Promise<number> {
  const { socket, clock, order, rehearse } = options
  const wanted = options.wait === true && (order === 'sas' || order === 'x509') ? order : undefined
  try {
    const before = wanted === undefined ? undefined : await askProgress(socket, clock)
    const answer = await askOrder({ order, rehearse }, { path: socket, clock })
    if ('ok' in answer) return refuse(io, answer.code, answer.message, answer.advice)
    if (!answer.accepted) return refuseOrder(io, answer)
    io.stdout(`${[...answer.steps, ...nextLines(options)].join('\n')}\n`)
    if (wanted === undefined || before === undefined) return exitCodes.fine
    return await awaitMove(io, { socket, clock, wanted, before })
  } catch (error) {
    const { code, message, advice } = asFailure(error)
    refuse(io, code, message, advice)
    return code === 'AGENT_NOT_RUNNING' ? exitCodes.agentNotRunning : exitCodes.failed
  }
}

function nextLines({ order, rehearse, wait = false }: OrderOptions): readonly string[] {
  const words = order === 'sas' || order === 'x509' ? `auth ${order}` : order
  if (rehearse) return ['This was a rehearsal: nothing has changed. To do it:', `  iot-device-agent ${words}`]
  return wait ? [] : ['To see how it goes:', '  iot-device-agent status']
}

function refuseOrder(io: Output, { code = 'UNEXPECTED', steps }: OrderAnswer): number {
  const entry = entryOf(code)
  return refuse(io, code, steps.length === 0 ? (entry?.meaning ?? '') : steps.join('; '), entry?.advice ?? '')
}

function refuse(io: Output, code: string, message: string, advice: string): number {
  io.stderr(`${code}: ${message}\n  ${advice}\n`)
  return exitCodes.failed
}
