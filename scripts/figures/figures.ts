/** What a run of scripts/bench leaves in docs/performance.json, and what docs/performance.md is made of. */
import type { Durability } from '../../agent/telemetry/outbox/port.ts'

/** Who is measured. `runtime` is the bare Node of the package: what no program on it can go below. */
export const participants = ['agent', 'python', 'sdk', 'runtime'] as const

export type Participant = (typeof participants)[number]

/** What can be measured alone. Together they are the bench, in this order. */
export const groups = [
  ...(['start', 'sending', 'rest'] as const),
  ...(['intake', 'through', 'paced', 'waiting', 'outage', 'depth'] as const),
] as const

export type Group = (typeof groups)[number]

/** Each measured figure with its unit; the values in the file are in it. */
export const figures = {
  startDpsMs: 'ms',
  startDpsCpuMs: 'ms',
  startCachedMs: 'ms',
  startCachedCpuMs: 'ms',
  startCachedCaFileMs: 'ms',
  startCachedCaFileCpuMs: 'ms',
  rssMb: 'MB',
  pssMb: 'MB',
  anonymousMb: 'MB',
  privateMb: 'MB',
  fileMb: 'MB',
  restCpuMs: 'ms',
  restWrittenKb: 'kB',
  oneAtATime: '1/s',
  twentyOnTheirWay: '1/s',
  hundredOnTheirWay: '1/s',
  oneAtATimeCpuUs: 'µs',
  twentyOnTheirWayCpuUs: 'µs',
  hundredOnTheirWayCpuUs: 'µs',
  diskSyncUs: 'µs',
  throughSingle: '1/s',
  throughSingleCpuUs: 'µs',
  throughBatched: '1/s',
  throughBatchedCpuUs: 'µs',
  noneWaitingRssMb: 'MB',
  noneWaitingAnonymousMb: 'MB',
  allWaitingRssMb: 'MB',
  allWaitingAnonymousMb: 'MB',
  anewWaitingRssMb: 'MB',
  anewWaitingAnonymousMb: 'MB',
  allWaitingFileMb: 'MB',
  fillSeconds: 's',
  drainStartMs: 'ms',
  drainSeconds: 's',
  drainPeakMb: 'MB',
  drainCpuUs: 'µs',
  drainWrittenBytes: 'B',
  outageSent: '1',
  outageReceived: '1',
  outageLost: '1',
  outageTwice: '1',
  outageBackMs: 'ms',
  outageBeforeRssMb: 'MB',
  outageRssMb: 'MB',
  outageCpuMs: 'ms',
} as const

/** How samples come in at the socket: one in a request on one or on 16 connections, arrays, or lines without end. */
export const entrances = ['one', 'sixteen', 'array', 'lines'] as const

export type Entrance = (typeof entrances)[number]

/** Samples a second that a local program hands in. */
export const rates = [1, 10, 100, 1000] as const

/** Samples that wait. */
export const depths = [1_000, 10_000, 100_000, 1_000_000] as const

/** Processor time, and wall time. */
export type DepthStep = 'enqueue' | 'dequeue' | 'enqueueWall' | 'dequeueWall'

/** `accepted` is in samples/s, `bytes` what is written for one, `cpu` in ms/min, the last in µs. */
export type Figure =
  | keyof typeof figures
  | `${'accepted' | 'bytes'}.${Entrance}.${Durability}`
  | `${'cpu' | 'bytes'}.${(typeof rates)[number]}`
  | `${DepthStep}.${(typeof depths)[number]}`

/** The values of all runs, in the order in which they were taken. */
export type Series = Partial<Record<Participant, Partial<Record<Figure, readonly number[]>>>>

/** How the telemetry was measured. */
export interface TelemetryMethod {
  readonly rounds: number
  /** Of one sample. */
  readonly sampleBytes: number
  /** Samples in one array, and in one message where they are batched. */
  readonly arraySamples: number
  readonly batchSamples: number
  /** For each entrance and class. */
  readonly intakeSeconds: number
  /** After something that leaves work or memory behind, at the most. */
  readonly settlingSeconds: number
  /** Samples that go through. */
  readonly throughSingle: number
  readonly throughBatched: number
  /** For each rate. */
  readonly pacedSeconds: number
  readonly waiting: number
  readonly outageSeconds: number
  readonly outagePerSecond: number
  /** What the Python client waits between attempts to connect. */
  readonly pythonRetrySeconds: number
  readonly depths: readonly number[]
  readonly depthRounds: number
  /** Samples in one block of one round. */
  readonly depthBlock: number
}

export interface Performance {
  /** UTC, YYYY-MM-DD. */
  readonly takenOn: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryMb: number
    readonly system: string
    readonly kernel: string
  }
  /** Of whatever may change the figures, by name. */
  readonly versions: Readonly<Record<string, string>>
  readonly method: {
    readonly rounds: number
    readonly retryAfterSeconds: number
    readonly pollsBeforeAssigned: number
    readonly quietSeconds: number
    readonly sendingSeconds: number
    readonly bodyBytes: number
    readonly telemetry?: TelemetryMethod
  }
  readonly series: Series
}

/** Where the values are kept, from the top of the repository. */
export const FIGURES_FILE = 'docs/performance.json'
