import { warningTable } from './warning-table.ts'
import type { Finding, Severity, WarningCode } from './warning-table.ts'

/** A warning that stands, with all that a reader needs. */
export interface Warning {
  readonly code: WarningCode
  readonly severity: Severity
  /** The fact. */
  readonly text: string
  /** What to do or type next. */
  readonly advice: string
  /** Wall time at which it was raised. */
  readonly sinceMs: number
}

export interface Tracked {
  readonly warnings: readonly Warning[]
  /** Those that were not there before: for the log. */
  readonly raised: readonly Warning[]
  /** Those that are gone: for the log. */
  readonly cleared: readonly Warning[]
}

/** Carries the warnings on: one that stands keeps its `sinceMs` while text and advice may change. */
export function track(previous: readonly Warning[], findings: readonly Finding[], nowMs: number): Tracked {
  const before = new Map(previous.map((warning) => [warning.code, warning]))
  const warnings = findings.map(({ code, text, advice }) => ({
    code,
    severity: warningTable[code].severity,
    text,
    advice: advice ?? warningTable[code].advice,
    sinceMs: before.get(code)?.sinceMs ?? nowMs,
  }))
  const now = new Set(warnings.map((warning) => warning.code))
  return {
    warnings,
    raised: warnings.filter((warning) => !before.has(warning.code)),
    cleared: previous.filter((warning) => !now.has(warning.code)),
  }
}
