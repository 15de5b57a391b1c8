import { getDescription, getMetadata, metadata, object, pipe } from 'valibot'
import type { GenericSchema, ObjectEntries } from 'valibot'

/** What a person needs to know about one key; the rule for its value stands in the schema itself. */
export type About = {
  /** What it is for, as sentences. */
  readonly description: string
  /** Unit of the value, where it has one. */
  readonly unit?: string
  /** The environment variable that overrides the files. */
  readonly environment?: string
  /** A value to show where there is no default. */
  readonly example?: string | number | boolean
  /** What stands in when nothing is written and the default depends on other keys. */
  readonly otherwise?: string
  /** Other names that people try, for suggestions only. */
  readonly aliases?: readonly string[]
  /** Never shown, logged or quoted in a problem. */
  readonly secret?: boolean
  /** For a value that may hold a secret by mistake: said about a wrong or misplaced one, which is then not shown. */
  readonly caution?: string
}

/** What a person needs to know about one table. */
export type AboutTable = { readonly description: string }

/** Names the schema of a value for people: everything that is shown about a key is written here once. */
export function setting<const S extends GenericSchema>(schema: S, about: About): S {
  return pipe(schema, metadata(about)) as unknown as S
}

/** Groups settings under the name that the table has in the file. */
export function table<const Entries extends ObjectEntries>(description: string, entries: Entries) {
  return pipe(object(entries), metadata({ description } satisfies AboutTable))
}

/** One key of the schema with everything that can be said about it. */
export interface KeyInfo extends About {
  /** Dotted, as in `telemetry.intervalSeconds`. */
  readonly key: string
  /** The table it stands in, as in `telemetry`. */
  readonly table: string
  /** Last part of the key. */
  readonly name: string
  /** The rule for the value, as a noun: "a whole number from 1 to 86400". */
  readonly rule: string
  readonly type: 'string' | 'number' | 'boolean'
  readonly defaultValue: string | number | boolean | undefined
  /** Nothing works without it, and no default can be given. */
  readonly required: boolean
}

export interface TableInfo extends AboutTable {
  /** Dotted, as in `auth.x509`. */
  readonly table: string
  /** In the order of the schema. */
  readonly keys: readonly KeyInfo[]
}

/** Every table that holds keys, in the order of the schema. */
export function describeTables(schema: GenericSchema, prefix = ''): readonly TableInfo[] {
  const keys: KeyInfo[] = []
  const inner: TableInfo[] = []
  for (const [name, entry] of Object.entries(entriesOf(schema) ?? {})) {
    if (entriesOf(entry) === undefined) keys.push(describeKey(entry, prefix, name))
    else inner.push(...describeTables(entry, join(prefix, name)))
  }
  const own = { table: prefix, description: describe(schema).description ?? '', keys }
  return keys.length === 0 ? inner : [own, ...inner]
}

/** Every key, in the order of the schema. */
export function describeKeys(schema: GenericSchema): readonly KeyInfo[] {
  return describeTables(schema).flatMap((table) => table.keys)
}

function describeKey(entry: GenericSchema, table: string, name: string): KeyInfo {
  const schema = unwrap(entry)
  const { description = '', ...about } = describe(schema)
  const defaultValue = 'default' in entry ? (entry.default as KeyInfo['defaultValue']) : undefined
  return {
    ...about,
    description,
    key: join(table, name),
    table,
    name,
    rule: getDescription(schema) ?? schema.expects,
    type: schema.type === 'number' || schema.type === 'boolean' ? schema.type : 'string',
    defaultValue,
    required: schema === entry,
  }
}

function describe(schema: GenericSchema): Partial<About> {
  return getMetadata(schema)
}

/** The entries of a table; undefined for the schema of a value. */
function entriesOf(schema: GenericSchema): Readonly<Record<string, GenericSchema>> | undefined {
  return 'entries' in schema ? (schema.entries as Readonly<Record<string, GenericSchema>>) : undefined
}

function unwrap(schema: GenericSchema): GenericSchema {
  return 'wrapped' in schema ? (schema.wrapped as GenericSchema) : schema
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`
}
