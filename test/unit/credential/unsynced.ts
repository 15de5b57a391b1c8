import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'

/** What a disk may forget when the power goes: content, and names in folders, that nobody has synced. */
export interface Loss {
  readonly content: boolean
  readonly names: boolean
}

/** A process that was only killed loses nothing; a disk may lose the one, the other or both. */
export const losses: readonly Loss[] = [false, true].flatMap((content) =>
  [false, true].map((names) => ({ content, names })),
)

/**
 * Keeps account of what a disk has not been told to keep: content until the file is synced, a name until its folder
 * is. Told of each change once it is made; works beside the calls that a test replaces.
 */
export interface Unsynced {
  /** A copy of what lies there, if anything does: for `renamed` and `removed`, taken before. */
  keep(path: string): string | undefined
  /** @param before a copy of the content that was overwritten or continued, which may come back */
  wrote(path: string, before: string | undefined): void
  made(path: string): void
  removed(path: string, before: string | undefined): void
  /** Within one folder. */
  renamed(from: string, to: string, before: string | undefined): void
  synced(path: string): void
  /** The disk forgets. */
  lose(loss: Loss): void
}

/** Something under a path that changes with the names of the folders above it. */
interface Placed {
  path: string
}

interface Written extends Placed {
  readonly before: string | undefined
}

interface NameChange extends Placed {
  /** Takes the change back. */
  readonly undo: (path: string) => void
}

export function createUnsynced(): Unsynced {
  const copies = mkdtempSync(join(tmpdir(), 'unsynced-'))
  let kept = 0
  let written: Written[] = []
  let changes: NameChange[] = []

  const forgetContent = (path: string) => {
    written = written.filter((file) => !isAt(path, file.path))
  }

  return {
    keep(path) {
      if (!existsSync(path)) return undefined
      kept += 1
      const copy = join(copies, String(kept))
      cpSync(path, copy, { recursive: true, preserveTimestamps: true })
      return copy
    },
    wrote: (path, before) => void written.push({ path, before }),
    made: (path) => void changes.push({ path, undo: (now) => rmSync(now, { recursive: true, force: true }) }),
    removed(path, before) {
      forgetContent(path)
      if (before !== undefined) changes.push({ path, undo: (now) => bringBack(before, now) })
    },
    renamed(from, to, before) {
      forgetContent(to)
      const moved = [...written, ...changes].filter((each) => isAt(from, each.path))
      const earlier = moved.map((each) => each.path)
      for (const each of moved) each.path = to + each.path.slice(from.length)
      const undo = (now: string) => {
        renameSync(now, join(dirname(now), basename(from)))
        bringBack(before, now)
        for (const [index, each] of moved.entries()) each.path = earlier[index] ?? each.path
      }
      changes.push({ path: to, undo })
    },
    synced(path) {
      written = written.filter((file) => file.path !== path)
      changes = changes.filter((change) => dirname(change.path) !== path)
    },
    lose({ content, names }) {
      // The oldest content last: it is what the disk knows.
      if (content) for (const { path, before } of written.toReversed()) forget(path, before)
      if (names) for (const change of changes.toReversed()) change.undo(change.path)
      rmSync(copies, { recursive: true })
    },
  }
}

function forget(path: string, before: string | undefined): void {
  if (before === undefined) truncateSync(path, 0)
  else writeFileSync(path, readFileSync(before))
}

function bringBack(before: string | undefined, path: string): void {
  if (before !== undefined) cpSync(before, path, { recursive: true, preserveTimestamps: true })
}

function isAt(folder: string, path: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}
