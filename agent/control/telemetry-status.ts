import type { Failure } from '../failure.ts'
import type { FailureStatus, ForwardingStatus, OutboxStatus, SocketStatus, SourceStatus, Status } from './status.ts'

/** What is known of the samples on their way, beside the outbox. */
export interface TelemetryFacts {
  readonly acknowledged: number
  readonly lastAcknowledgedAtMs: number | undefined
  readonly forwarding: () => ForwardingStatus | undefined
  readonly sources: () => readonly SourceFacts[]
  readonly intake: () => SocketStatus | undefined
}

/** A program that is run for its measurements. */
export interface SourceFacts {
  readonly name: string
  readonly runs: number
  readonly failures: number
  readonly failedInARow: number
  readonly lastFailure?: Failure | undefined
}

/** The level of an outbox, with the failure itself. */
export type Level = Omit<OutboxStatus, 'trouble'> & { readonly trouble?: Failure }

export function telemetryStatus(facts: TelemetryFacts, level: Level, intervalMs: number): Status['telemetry'] {
  const { acknowledged, lastAcknowledgedAtMs } = facts
  return {
    intervalSeconds: intervalMs / 1000,
    acknowledged,
    ...(lastAcknowledgedAtMs !== undefined && { lastAcknowledgedAtMs }),
    buffered: level.depth,
    bufferedBytes: level.bytes,
    dropped: level.dropped,
    outbox: outboxStatus(level),
    forwarding: facts.forwarding(),
    sources: facts.sources().map(sourceStatus),
    socket: facts.intake(),
  }
}

export function outboxStatus({ trouble, ...others }: Level): OutboxStatus {
  return { ...others, ...(trouble && { trouble: failureStatus(trouble) }) }
}

export function sourceStatus({ name, runs, failures, failedInARow, lastFailure }: SourceFacts): SourceStatus {
  return { name, runs, failures, failedInARow, ...(lastFailure && { lastFailure: failureStatus(lastFailure) }) }
}

/** What a reader of a failure is shown. */
export function failureStatus({ code, message, advice }: Failure): FailureStatus {
  return { code, message, advice }
}
