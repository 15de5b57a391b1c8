import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readIfThere } from '../../agent/system/files.ts'

/** A file of the repository that is wholly or partly made from code. */
export interface Document {
  /** From the top of the repository. */
  readonly path: string
  /** The text as it should be. `current` is what the file holds now, for pages that are generated in part. */
  make(current: string | undefined): string
}

/** The documents whose file is not what it should be. */
export async function findStale(root: string, documents: readonly Document[]): Promise<readonly string[]> {
  const judged = await Promise.all(documents.map((document) => judge(root, document)))
  return judged.filter(({ stale }) => stale).map(({ path }) => path)
}

/** Brings every document up to date; the paths that were written come back. */
export async function writeStale(root: string, documents: readonly Document[]): Promise<readonly string[]> {
  const judged = await Promise.all(documents.map((document) => judge(root, document)))
  const stale = judged.filter((one) => one.stale)
  for (const { path, wanted } of stale) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), wanted)
  }
  return stale.map(({ path }) => path)
}

async function judge(root: string, document: Document) {
  const current = await readIfThere(join(root, document.path))
  const wanted = document.make(current)
  return { path: document.path, wanted, stale: current !== wanted }
}
