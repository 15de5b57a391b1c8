/**
 * Where a value or problem comes from: `/etc/iot-device-agent/config.toml`, the same with `:line:column` for a file
 * that is not TOML, `environment DPS_HOST`, `default`, or `python default`.
 */
export type Origin = string

/** One thing that is wrong with the configuration, with the way out. */
export interface Problem {
  /** Dotted; undefined when a whole file or folder is meant. */
  readonly key: string | undefined
  /** As it was written, bounded and safe to show; undefined when nothing was written or when it may be a secret. */
  readonly value: string | undefined
  /** What is wrong, completing "this value …" or standing alone. */
  readonly problem: string
  /** What to do, as a sentence. */
  readonly remedy: string
  readonly origin: Origin | undefined
}

/** All problems for a technician: one block each, what is wrong first, what to do last. Ends with a line break. */
export function formatProblems(problems: readonly Problem[]): string {
  return `CONFIG_INVALID: ${listProblems(problems)}`
}

/** The same without the code, as the message of a failure that has one. */
export function listProblems(problems: readonly Problem[]): string {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  return [`the configuration has ${count}:`, ...problems.map(formatProblem)].join('\n\n').concat('\n')
}

function formatProblem(problem: Problem, index: number): string {
  const subject = problem.key ?? problem.origin ?? 'configuration'
  const origin = problem.key === undefined ? undefined : problem.origin
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['problem', problem.problem],
    ['value', problem.value],
    ['found in', origin],
    ['remedy', problem.remedy],
  ]
  const shown = lines.flatMap(([name, text]) => (text === undefined ? [] : [`   ${`${name}:`.padEnd(10)}${text}`]))
  return [`${index + 1}. ${subject}`, ...shown].join('\n')
}
