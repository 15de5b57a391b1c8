import { array, getDescription, getMetadata, metadata, object, optional, pipe } from 'valibot'
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
  readonly example?: string | number | boolean | readonly string[]
  /** What stands in when nothing is written and the default depends on other keys. */
  readonly otherwise?: string
  /** Other names that people try, for suggestions only. */
  readonly aliases?: readonly string[]
  /** Never shown, logged or quoted in a problem. */
  readonly secret?: boolean
  /** For a value that may hold a secret by mistake: said about a wrong or misplaced one, which is then not shown. */
  readonly caution?: string
  /** The value is a program with its arguments, which may be secrets: they are not shown. */
  readonly commandLine?: boolean
}

/** What a person needs to know about one table. */
export type AboutTable = { readonly description: string }

/** What a person needs to know about a list of tables. */
export type AboutList = AboutTable & {
  /** The key that tells entries apart. */
  readonly by: string
  /** Entries that there may be, all files together. */
  readonly most: number
  /** Other names that people try, for suggestions only. */
  readonly aliases?: readonly string[]
}

/** Names the schema of a value for people: everything that is shown about a key is written here once. */
export function setting<const S extends GenericSchema>(schema: S, about: About): S {
  return pipe(schema, metadata(about)) as unknown as S
}

/** Groups settings under the name that the table has in the file. */
export function table<const Entries extends ObjectEntries>(description: string, entries: Entries) {
  return pipe(object(entries), metadata({ description } satisfies AboutTable))
}

/** Tables of one name, each written as `[[name]]`. Their entries are values: no tables, no lists. None when left out. */
export function list<const Entries extends ObjectEntries>(about: AboutList, entries: Entries) {
  return optional(pipe(array(object(entries)), metadata(about)), [])
}

/** One key of the schema with everything that can be said about it. */
export interface KeyInfo extends About {
  /** Dotted, as in `telemetry.intervalSeconds`. */
  readonly key: string
  /** The table it stands in, as in `telemetry`. */
  readonly table: string
  /** The line that it stands below in a file, as in `[telemetry]`; of a list its own, as in `[[telemetry.command]]`. */
  readonly header: string
  /** Last part of the key. */
  readonly name: string
  /** The rule for the value, as a noun: "a whole number from 1 to 86400". */
  readonly rule: string
  readonly type: 'string' | 'number' | 'boolean' | 'array'
  readonly defaultValue: string | number | boolean | readonly unknown[] | undefined
  /** Nothing works without it, and no default can be given. */
  readonly required: boolean
}

/** A list of tables, as a key whose value is the list. */
export type ListInfo = KeyInfo & Pick<AboutList, 'by' | 'most'>

export interface TableInfo extends AboutTable {
  /** Dotted, as in `auth.x509`. */
  readonly table: string
  /** The line above its keys, as in `[auth.x509]` or `[[telemetry.command]]`. */
  readonly header: string
  /** In the order of the schema. Those of a list are the same for each entry, as in `telemetry.command[].name`. */
  readonly keys: readonly KeyInfo[]
  /** Only when the table stands as often as wanted. */
  readonly list?: ListInfo
}

/** Every table that holds keys, in the order of the schema. */
export function describeTables(schema: GenericSchema, prefix = ''): readonly TableInfo[] {
  const keys: KeyInfo[] = []
  const inner: TableInfo[] = []
  const header = `[${prefix}]`
  for (const [name, entry] of Object.entries(entriesOf(schema) ?? {})) {
    const each = eachOf(entry)
    if (each !== undefined) inner.push(describeList(entry, each, prefix, name))
    else if (entriesOf(entry) !== undefined) inner.push(...describeTables(entry, join(prefix, name)))
    else keys.push(describeKey(entry, { table: prefix, header, name }))
  }
  const own = { table: prefix, header, description: describe(schema).description ?? '', keys }
  return keys.length === 0 ? inner : [own, ...inner]
}

/** Every key, in the order of the schema; of a list the keys that each entry has. */
export function describeKeys(schema: GenericSchema): readonly KeyInfo[] {
  return describeTables(schema).flatMap((table) => table.keys)
}

/** The keys of the one entry of a list that stands at `place`, as in `telemetry.command[0]`. */
export function keysOfEntry(keys: readonly KeyInfo[], place: string): readonly KeyInfo[] {
  return keys.map((info) => ({ ...info, key: join(place, info.name), table: place }))
}

export function isList(info: KeyInfo): info is ListInfo {
  return 'most' in info
}

/** How a key is written in a file: `[telemetry] intervalSeconds = 60`, or the line above an entry of a list. */
export function lineOf(info: KeyInfo, value = '…'): string {
  return isList(info) ? info.header : `${info.header} ${info.name} = ${value}`
}

function describeList(entry: GenericSchema, each: GenericSchema, prefix: string, name: string): TableInfo {
  const table = join(prefix, name)
  const header = `[[${table}]]`
  const about = getMetadata(unwrap(entry)) as AboutList
  const keys = Object.entries(entriesOf(each) ?? {}).map(([key, value]) =>
    describeKey(value, { table: `${table}[]`, header, name: key }),
  )
  const { by, most, description } = about
  const own = describeKey(entry, { table: prefix, header, name })
  return { table, header, description, keys, list: { ...own, rule: `a list of at most ${most} tables`, by, most } }
}

function describeKey(entry: GenericSchema, at: Pick<KeyInfo, 'table' | 'header' | 'name'>): KeyInfo {
  const schema = unwrap(entry)
  const { description = '', ...about } = describe(schema)
  const defaultValue = 'default' in entry ? (entry.default as KeyInfo['defaultValue']) : undefined
  return {
    ...about,
    ...at,
    description,
    key: join(at.table, at.name),
    rule: getDescription(schema) ?? schema.expects,
    type: typeOf(schema),
    defaultValue,
    required: schema === entry,
  }
}

function typeOf({ type }: GenericSchema): KeyInfo['type'] {
  return type === 'number' || type === 'boolean' || type === 'array' ? type : 'string'
}

function describe(schema: GenericSchema): Partial<About> {
  return getMetadata(schema)
}

/** The entries of a table; undefined for the schema of a value. */
function entriesOf(schema: GenericSchema): Readonly<Record<string, GenericSchema>> | undefined {
  return 'entries' in schema ? (schema.entries as Readonly<Record<string, GenericSchema>>) : undefined
}

/** The table that each entry of a list is; undefined for everything else. */
function eachOf(schema: GenericSchema): GenericSchema | undefined {
  const inner = unwrap(schema)
  const each = 'item' in inner ? (inner.item as GenericSchema) : undefined
  return each !== undefined && entriesOf(each) !== undefined ? each : undefined
}

function unwrap(schema: GenericSchema): GenericSchema {
  return 'wrapped' in schema ? (schema.wrapped as GenericSchema) : schema
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`
}
