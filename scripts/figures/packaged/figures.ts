/** What a run of scripts/bench-package leaves in docs/package-figures.json, and what the page is made of. */
import type { Performance } from '../figures.ts'

/** Each figure of the service with its unit. */
export const serviceFigures = {
  /** From the start of the process until it has told systemd that it is ready. */
  readyMs: 'ms',
  /** From the start of the unit, sandbox included, until the hub has acknowledged the first message. */
  firstMessageMs: 'ms',
  startCpuMs: 'ms',
  rssMb: 'MB',
  pssMb: 'MB',
  anonymousMb: 'MB',
  restCpuMs: 'ms',
  restWrittenKb: 'kB',
} as const

export type ServiceFigure = keyof typeof serviceFigures

/** The service on one machine: the values of all runs. */
export interface ServiceSeries {
  readonly suite: string
  readonly systemd: string
  readonly values: Readonly<Record<ServiceFigure, readonly number[]>>
}

/** One package as it is shipped. Sizes in bytes. */
export interface PackageSize {
  readonly name: string
  readonly arch: string
  readonly deb: number
  readonly installed: number
}

/** A way of packing the same content; memory in bytes that unpacking takes, as xz itself says. */
export interface Packing {
  readonly flags: string
  readonly bytes: number
  readonly unpackBytes: number
}

/** Bytes of something inside. */
export interface Part {
  readonly title: string
  readonly bytes: number
}

export interface Packaged {
  /** UTC, YYYY-MM-DD. */
  readonly takenOn: string
  readonly machine: Performance['machine']
  readonly startRounds: number
  readonly restRounds: number
  readonly quietSeconds: number
  readonly packages: readonly PackageSize[]
  readonly packings: readonly Packing[]
  /** Of the arm64 package, installed. */
  readonly parts: readonly Part[]
  /** Of the program: by package of npm, the largest first. */
  readonly bundle: readonly Part[]
  /** What stands beside it, measured on this machine. */
  readonly beside: readonly Part[]
  readonly service: readonly ServiceSeries[]
}

export const PACKAGED_FILE = 'docs/package-figures.json'
