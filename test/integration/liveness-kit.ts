/** A device as a process of its own whose only way to its cloud is a cable, and how soon it has to be back. */
import { Failure } from '../../agent/failure.ts'
import type { FailureCode } from '../../agent/failure.ts'
import { after, freshHistory, nextStep } from '../../agent/hub/supervise-policy.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { layCable } from '../kit/cable.ts'
import type { Cable } from '../kit/cable.ts'
import { makeDevice } from '../kit/device.ts'
import type { LogLine } from '../kit/journal.ts'
import type { AgentProcess } from '../kit/program.ts'
import { CLOUD_ADDRESS } from '../kit/road.ts'
import { seen, startFleetCloud } from './agent-kit.ts'

export interface FarDevice extends AsyncDisposable {
  readonly cloud: Cloud
  readonly cable: Cable
  readonly agent: AgentProcess
  /** The next report that the agent is not connected. */
  nextFailure(withinMs?: number): Promise<LogLine>
  /** Milliseconds from `fromMs` to the next message that the hub acknowledges. */
  nextMessage(fromMs: number): Promise<number>
}

/** Boots a device with a sample a second, and waits until its first message is acknowledged. */
export async function startFarDevice(registrationId: string, toml: string): Promise<FarDevice> {
  await using stack = new AsyncDisposableStack()
  const cable = stack.use(await layCable())
  const cloud = stack.use(await startFleetCloud({ address: CLOUD_ADDRESS, port: cable.port }))
  const pair = await cloud.authority.makeDevice(registrationId)
  const device = stack.use(await makeDevice(cloud, { registrationId, pair, toml }))
  const agent = device.start()
  await seen(cloud, 'telemetry', registrationId)
  const everything = stack.move()
  let passed = 0
  return {
    ...{ cloud, cable, agent },
    async nextFailure(withinMs = 20_000) {
      const line = await agent.journal.heard(isNotConnected, { since: passed, withinMs })
      passed = agent.journal.lines().findIndex((said, index) => index >= passed && isNotConnected(said)) + 1
      return line
    },
    async nextMessage(fromMs) {
      await seen(cloud, 'telemetry', registrationId, { since: cloud.record.seq() })
      return performance.now() - fromMs
    },
    [Symbol.asyncDispose]: () => everything.disposeAsync(),
  }
}

/** For connecting, and for the first message to be taken and acknowledged. */
export const RESUME_MS = 2_000

/**
 * The longest pause that the policy can draw after a session that ended for the first of these reasons, and attempts
 * that ended for the others.
 */
export function longestPauseMs(ends: readonly LogLine[]): number {
  const failures = ends.map((line) => new Failure(line['code'] as FailureCode, line.msg))
  const history = failures.reduce(
    (before, failure, index) =>
      after(
        before,
        index === 0
          ? { event: 'sessionEnded', failure, livedMs: 0, nowMs: 0 }
          : { event: 'connectFailed', failure, nowMs: 0 },
      ),
    freshHistory(mostOf),
  )
  return nextStep(history, true, 0, mostOf).inMs
}

/** The end of the range of what chance can draw. */
function mostOf(): number {
  return 1
}

function isNotConnected(line: LogLine): boolean {
  return line['event'] === 'not connected'
}
