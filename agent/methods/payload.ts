import { getDescription, safeParse } from 'valibot'
import type { GenericSchema } from 'valibot'
import { isObject } from '../system/json.ts'
import { methodTable } from './table.ts'
import type { MethodEntry, MethodName, PayloadOf } from './table.ts'

export type Payload<Name extends MethodName> =
  | { readonly ok: true; readonly value: PayloadOf<Name> }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Fields nobody knows are named up to so many, each shortened to so many characters. */
const MAX_NAMED = 4
const MAX_SHOWN = 40

/** Reads the payload of a call; none at all, and null, are an empty one. */
export function readPayload<Name extends MethodName>(name: Name, given: unknown): Payload<Name> {
  const { payload: schema }: MethodEntry = methodTable[name]
  const value = given ?? {}
  if (!isObject(value)) return { ok: false, problems: [`the payload of ${name} must be an object, is ${show(given)}`] }
  const parsed = safeParse(schema, value)
  const known = Object.keys(schema.entries)
  const problems = [
    ...unknownFields(Object.keys(value), known),
    ...known.flatMap((field) => problemOf(field, schema.entries[field], value)),
  ]
  if (problems.length > 0 || !parsed.success) return { ok: false, problems }
  return { ok: true, value: parsed.output as PayloadOf<Name> }
}

function unknownFields(fields: readonly string[], known: readonly string[]): readonly string[] {
  const takes = known.length === 0 ? 'no field is taken' : `the fields are ${known.join(', ')}`
  return fields
    .filter((field) => !known.includes(field))
    .slice(0, MAX_NAMED)
    .map((field) => `there is no field ${show(field)}, ${takes}`)
}

function problemOf(
  field: string,
  entry: GenericSchema | undefined,
  value: Readonly<Record<string, unknown>>,
): readonly string[] {
  if (entry === undefined) return []
  if (!Object.hasOwn(value, field)) return isOptional(entry) ? [] : [`${field} is missing: ${ruleOf(entry)}`]
  return safeParse(entry, value[field]).success ? [] : [`${field} must be ${ruleOf(entry)}, is ${show(value[field])}`]
}

function isOptional(entry: GenericSchema): boolean {
  return entry.type === 'exact_optional'
}

function ruleOf(entry: GenericSchema): string {
  return getDescription('wrapped' in entry ? (entry.wrapped as GenericSchema) : entry) ?? entry.expects
}

function show(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}
