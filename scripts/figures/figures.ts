/** What a run of scripts/bench leaves in docs/performance.json, and what docs/performance.md is made of. */

/** Who is measured. `runtime` is the bare Node of the package: what no program on it can go below. */
export const participants = ['agent', 'python', 'sdk', 'runtime'] as const

export type Participant = (typeof participants)[number]

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
  oneAtATime: '1/s',
  twentyOnTheirWay: '1/s',
  hundredOnTheirWay: '1/s',
  oneAtATimeCpuUs: 'µs',
  twentyOnTheirWayCpuUs: 'µs',
  hundredOnTheirWayCpuUs: 'µs',
} as const

export type Figure = keyof typeof figures

/** The values of all runs, in the order in which they were taken. */
export type Series = Partial<Record<Participant, Partial<Record<Figure, readonly number[]>>>>

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
  }
  /** What lies in build/, in bytes. */
  readonly sizes: { readonly bundle: number; readonly runtime: number }
  readonly series: Series
}

/** Where the values are kept, from the top of the repository. */
export const FIGURES_FILE = 'docs/performance.json'
