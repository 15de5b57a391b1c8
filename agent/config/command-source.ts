import type { Settings } from './schema.ts'

type Written = Settings['telemetry']['command'][number]

/** A program that is run for its measurements, with everything that follows from what was written. */
export type CommandSource = Written & Required<Pick<Written, 'stream' | 'timeoutSeconds'>>

/** Whether the agent keeps the stream for itself: that of the device's own measurements, and whatever bears its name. */
export function isReserved(stream: string): boolean {
  return stream === 'device' || /^(alarms-|iotagent)/i.test(stream)
}

/** Longest run where none is written. */
const USUAL_TIMEOUT_SECONDS = 10

/** A run ends before the next one begins; at an interval of 1 s, when it begins, as there is nothing shorter. */
export function longestRunSeconds(intervalSeconds: number): number {
  return Math.max(1, intervalSeconds - 1)
}

/** Fills in the stream and the longest run. */
export function deriveCommand(written: Written): CommandSource {
  return {
    ...written,
    stream: written.stream ?? written.name,
    timeoutSeconds:
      written.timeoutSeconds ?? Math.min(USUAL_TIMEOUT_SECONDS, longestRunSeconds(written.intervalSeconds)),
  }
}
