/** Tests that a page of documentation names, as links `[title](../test/unit/x.test.ts)`. */

export interface NamedTest {
  /** From the top of the repository. */
  readonly file: string
  /** As it stands in the source; `…` for what a template fills in. */
  readonly title: string
}

export function namedTests(page: string): readonly NamedTest[] {
  const links = page.matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)\s]+\.test\.ts)\)/g)
  return [...links].map(([, title = '', file = '']) => ({ file, title }))
}

/** Those that are not there. `read` gives the source of a file, and undefined for one that does not exist. */
export async function missingTests(
  named: readonly NamedTest[],
  read: (file: string) => Promise<string | undefined>,
): Promise<readonly NamedTest[]> {
  const found = await Promise.all(named.map(async ({ file, title }) => isTest(title, (await read(file)) ?? '')))
  return named.filter((_, index) => found[index] !== true)
}

/** A call of `test` with this title, and not the words in a comment or as a part of another title. */
function isTest(title: string, source: string): boolean {
  const text = title
    .replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)
    .replaceAll("'", String.raw`\\?'`)
    .replaceAll('…', String.raw`\$\{[^}]+\}`)
  return new RegExp(String.raw`\btest\(\s*(['"\x60])${text}\1,`).test(source)
}
