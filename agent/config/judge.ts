import { safeParse } from 'valibot'
import type { BaseIssue, GenericSchema, InferOutput } from 'valibot'
import { kindOf } from './flatten.ts'
import type { Found } from './flatten.ts'
import { pathOf, showKey } from './key.ts'
import type { Problem } from './problems.ts'
import { lineOf } from './setting.ts'
import type { KeyInfo } from './setting.ts'
import { showValue, veil } from './show.ts'

/** What is left of all files and the environment: for each key the value that counts. */
export type Findings = ReadonlyMap<string, Found>

/** A rule that needs more than one key. It sees sound values only, defaults included, so that it never repeats a problem. */
export type Rule = (values: ReadonlyMap<string, unknown>, found: Findings) => readonly Problem[]

export type Judgement<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Holds the values of these keys against the schema and the rules; every problem is reported, not the first. */
export function judge<S extends GenericSchema>(
  schema: S,
  keys: readonly KeyInfo[],
  findings: Findings,
  rules: readonly Rule[] = [],
): Judgement<InferOutput<S>> {
  const result = safeParse(schema, nest(keys, findings))
  const names = new Set(keys.map((info) => info.key))
  const bad = new Set(result.issues?.map((issue) => keyOf(issue, names)))
  const wrong = keys.filter((info) => bad.has(info.key)).map((info) => wrongValue(info, findings.get(info.key)))
  const broken = rules.flatMap((rule) => rule(soundValues(keys, findings, bad), findings))
  if (!result.success || broken.length > 0) return { ok: false, problems: [...wrong, ...broken] }
  return { ok: true, value: result.output }
}

/** The tree that the schema reads: every table and entry is there, so that each missing key is named by itself. */
function nest(keys: readonly KeyInfo[], findings: Findings): object {
  const tree: Branch = {}
  for (const { key } of keys) {
    const path = pathOf(key)
    const found = findings.get(key)
    const holder = path.slice(0, -1).reduce<Branch>((node, part, index) => {
      const inner = (node[part] ?? (typeof path[index + 1] === 'number' ? [] : {})) as Branch
      node[part] = inner
      return inner
    }, tree)
    if (found !== undefined) holder[path.at(-1) ?? ''] = found.value
  }
  return tree
}

/** A table, or a list of them. */
type Branch = Record<string | number, unknown>

/** The key that an issue is about, or is inside the value of. */
function keyOf(issue: BaseIssue<unknown>, names: ReadonlySet<string>): string {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)))
  const ends = path.map((_, index) => showKey(path.slice(0, path.length - index)))
  return ends.find((key) => names.has(key)) ?? ''
}

function soundValues(
  keys: readonly KeyInfo[],
  findings: Findings,
  bad: ReadonlySet<string>,
): ReadonlyMap<string, unknown> {
  const sound = keys.filter((info) => !bad.has(info.key))
  return new Map(sound.map((info) => [info.key, findings.get(info.key)?.value ?? info.defaultValue]))
}

function wrongValue(info: KeyInfo, found: Found | undefined): Problem {
  if (found === undefined) {
    return {
      key: info.key,
      value: undefined,
      problem: 'It is required and nowhere set.',
      remedy: howTo(info),
      origin: undefined,
    }
  }
  const { value, origin } = found
  const fits = (Array.isArray(value) ? 'array' : typeof value) === info.type || origin.startsWith('environment ')
  const problem = fits ? `This is not ${info.rule}.` : `Expected ${info.rule}, got ${kindOf(value)}.`
  const shown = info.secret === true || info.caution !== undefined ? undefined : showValue(veil(info, value))
  return { key: info.key, value: shown, problem, remedy: info.caution ?? howTo(info, origin), origin }
}

/** What a rule finds wrong about a key, with the sound value that stands there, if one does. */
export function problemAt(found: Findings, key: string, text: Pick<Problem, 'problem' | 'remedy'>): Problem {
  const written = found.get(key)
  return { key, value: written === undefined ? undefined : showValue(written.value), origin: written?.origin, ...text }
}

/** How to write a key that would be right; where it was written already, in the words of that place. */
export function howTo(info: KeyInfo, origin = ''): string {
  const example = showValue(info.defaultValue ?? info.example ?? '…')
  const variable = info.environment === undefined ? undefined : `${info.environment}=${example.replaceAll('"', '')}`
  if (variable !== undefined && origin.startsWith('environment '))
    return `Set it to ${info.rule}, for example: ${variable}`
  const either = origin === '' && variable !== undefined ? `, or set ${variable}` : ''
  return `Write ${info.rule}, for example: ${lineOf(info, example)}${either}`
}
