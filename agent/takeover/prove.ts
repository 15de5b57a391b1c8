import { askOrder } from '../control/order.ts'
import { askStatus } from '../control/status.ts'
import type { Status } from '../control/status.ts'
import { asFailure, entryOf } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Lane } from './plan.ts'

/** The agent that runs on this machine, as far as a takeover asks it. */
export interface RunningAgent {
  /** @throws Failure as `askControl` does */
  status(): Promise<Status>
  /**
   * Has it make a key of its own and ask for a certificate.
   *
   * @returns what it says about that
   * @throws Failure as `askControl` does
   */
  renew(): Promise<readonly string[]>
}

export function createRunningAgent(socket: string, clock: Clock): RunningAgent {
  const options = { path: socket, clock }
  return {
    status: () => askStatus(options),
    async renew() {
      const answer = await askOrder({ order: 'renew', rehearse: false }, options)
      if ('ok' in answer) return [`${answer.code}: ${answer.message}`, answer.advice]
      return answer.accepted ? answer.steps : [`${answer.code ?? ''}: ${answer.steps.join('; ')}`]
    },
  }
}

export interface Proof {
  readonly agent: RunningAgent
  readonly clock: Clock
  readonly lane: Lane
  readonly withinMs: number
}

export type Verdict =
  | { readonly proven: true }
  /** What the agent itself said last. */
  | { readonly proven: false; readonly code: string; readonly reason: string; readonly advice: string }

const POLL_MS = 1000

/** Waits until the agent is connected on the lane and the hub has acknowledged a message, or the time is over. */
export async function prove({ agent, clock, lane, withinMs }: Proof): Promise<Verdict> {
  const untilMs = clock.monotonicMs() + withinMs
  for (;;) {
    const verdict = await agent.status().then((status) => judge(status, lane), unanswered)
    if (verdict.proven || clock.monotonicMs() >= untilMs) return verdict
    await clock.wait(POLL_MS)
  }
}

function judge({ connection, auth, telemetry }: Status, lane: Lane): Verdict {
  const { state, mode, history = [] } = auth
  const isConnected = connection.state === 'connected'
  if (isConnected && state === 'active' && mode === lane && telemetry.acknowledged > 0) return { proven: true }
  if (connection.state === 'disconnected' && connection.failure !== undefined) {
    const { code, message, advice } = connection.failure
    return { proven: false, code, reason: message, advice }
  }
  const { code, reason } = history.at(-1) ?? {}
  if (code !== undefined) return { proven: false, code, reason: reason ?? '', advice: entryOf(code)?.advice ?? '' }
  return {
    proven: false,
    code: 'IMPORT_NOT_PROVEN',
    reason: standing({ connection, auth, telemetry }, lane),
    advice: LOOK,
  }
}

const LOOK = 'journalctl -u iot-device-agent -n 50'

function standing({ connection, auth }: Pick<Status, 'connection' | 'auth' | 'telemetry'>, lane: Lane): string {
  if (connection.state === 'disconnected') return `the agent is still ${connection.doing}`
  if (auth.mode !== lane) return `the device is on ${auth.mode}, as it was before on this machine, and not on ${lane}`
  return 'the agent is connected, and no message has been acknowledged yet'
}

function unanswered(error: unknown): Verdict {
  const { code, message, advice } = asFailure(error)
  return { proven: false, code, reason: message, advice }
}
