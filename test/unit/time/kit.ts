/** What the tests of the clock share. */
import type { FailureCode } from '../../../agent/failure.ts'

export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'failure'
  readonly text: string
  readonly code?: FailureCode
  readonly fields: Readonly<Record<string, unknown>>
}

/** A log whose lines can be read back. */
export function createTestLog() {
  const lines: Line[] = []
  const take =
    (level: Line['level']) =>
    (text: string, fields: Line['fields'] = {}) =>
      void lines.push({ level, text, fields })
  return {
    lines,
    debug: take('debug'),
    info: take('info'),
    warn: take('warn'),
    failure: (failure: { message: string; code: FailureCode }, fields: Line['fields'] = {}) =>
      void lines.push({ level: 'failure', text: failure.message, code: failure.code, fields }),
    codes: () => lines.flatMap(({ code }) => code ?? []),
    texts: () => lines.map(({ text }) => text),
  }
}

export type TestLog = ReturnType<typeof createTestLog>
