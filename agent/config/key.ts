import { showValue } from './show.ts'

/** The way to a value: names of tables and of the key, and the numbers of entries in lists. */
export type Path = readonly (string | number)[]

/**
 * `telemetry.command[0].name`: dotted as TOML writes it. A part that is not plain is quoted, so that no key can pass for
 * another one.
 */
export function showKey(path: Path): string {
  return path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`
    const name = /^[A-Za-z0-9_-]{1,64}$/.test(part) ? part : showValue(part)
    return before === '' ? name : `${before}.${name}`
  }, '')
}

/** The way that a key of the schema names; the reverse of `showKey` for plain names. */
export function pathOf(key: string): Path {
  return (key.match(/[^.[\]]+/g) ?? []).map((part) => (/^\d+$/.test(part) ? Number(part) : part))
}
