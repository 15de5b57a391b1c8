/** Longest written name that is compared at all, in characters; bounds the work on hostile input. */
export const MAX_COMPARED = 64

/** The name that somebody probably meant, whatever the case and the separators; undefined when none is near. */
export function nearestOf(written: string, names: readonly string[]): string | undefined {
  if (written.length > MAX_COMPARED) return undefined
  const ranked = names.map((name) => ({ name, distance: nearness(normalize(written), normalize(name)) }))
  return ranked.filter(({ distance }) => distance < 1).toSorted((a, b) => a.distance - b.distance)[0]?.name
}

/** 0 for equal names, 1 and more for names that are not alike: edits, as a share of what is tolerated. */
export function nearness(a: string, b: string): number {
  if (a === b) return 0
  const tolerated = Math.max(1, Math.floor(Math.min(a.length, b.length) / 3))
  return Math.abs(a.length - b.length) > tolerated ? 1 : (0.9 * editDistance(a, b)) / tolerated
}

/** Insertions, deletions, replacements and swaps of neighbours that make one text of the other. */
export function editDistance(a: string, b: string): number {
  let before: readonly number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row += 1) {
    const line = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      line[column] = Math.min(
        (above[column] ?? 0) + 1,
        (line[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + same,
        swapped ? (before[column - 2] ?? 0) + 1 : Infinity,
      )
    }
    before = above
    above = line
  }
  return above[b.length] ?? 0
}

/** Without case and separators. */
export function normalize(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}
