import { MAX_COMPARED, nearness, normalize } from '../system/nearest.ts'
import type { KeyInfo } from './setting.ts'

export { editDistance, nearestOf } from '../system/nearest.ts'

/**
 * The key that somebody probably meant: by edit distance to each key's full name, its last part, its environment
 * variable and its other names, whatever the case and the separators.
 *
 * @returns undefined when nothing is near
 */
export function suggestKey(written: string, keys: readonly KeyInfo[]): KeyInfo | undefined {
  if (written.length > MAX_COMPARED) return undefined
  const whole = normalize(written)
  const last = normalize(written.split('.').at(-1) ?? '')
  let best: { readonly info: KeyInfo; readonly distance: number } | undefined
  for (const info of keys) {
    const names = inTableOf(written, info) ? [] : [info.key, info.environment ?? info.key]
    const distance = Math.min(
      ...names.map((name) => nearness(whole, normalize(name))),
      ...[info.name, info.environment ?? info.name, ...(info.aliases ?? [])].map(
        (name) => nearness(last, normalize(name)) + elsewhere(written, info),
      ),
    )
    if (distance < (best?.distance ?? Infinity)) best = { info, distance }
  }
  return best !== undefined && best.distance < 1 ? best.info : undefined
}

/** Then the last names alone tell how near they are: with a long name of the table before it, any two would be alike. */
function inTableOf(written: string, info: KeyInfo): boolean {
  return written.slice(0, Math.max(0, written.lastIndexOf('.'))) === info.table
}

/** Among keys of one last name, the one in the same table is meant, also where its outer table was left out. */
function elsewhere(written: string, info: KeyInfo): number {
  const table = written.slice(0, Math.max(0, written.lastIndexOf('.')))
  const isHere = written.startsWith(`${info.table}.`) || (table !== '' && info.table.endsWith(`.${table}`))
  return isHere ? 0 : 0.1
}
