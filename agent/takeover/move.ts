import { cp, lstat, mkdir, readdir, readlink, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode, syncFolder } from '../system/files.ts'
import { temporaryName } from '../system/temporary.ts'
import { unitFolders } from './find.ts'
import { RECORD_FOLDER } from './record.ts'
import type { Moved } from './record.ts'

/** Folders whose unit files an administrator owns; what lies in the others belongs to a package and is only masked. */
const ownFolders = unitFolders.slice(0, 2)

/**
 * All that makes systemd know a unit and start it: its file, its folders of drop-ins, the links that enable it, and its
 * other names. Each with a place of its own in the record folder.
 */
export async function piecesOf(root: string, unit: string): Promise<readonly Moved[]> {
  const pieces: string[] = []
  for (const folder of ownFolders) {
    for (const path of [join(folder, unit), join(folder, `${unit}.d`)])
      if (await isThere(join(root, path))) pieces.push(path)
    for (const name of await namesIn(join(root, folder))) {
      const path = join(folder, name)
      if (/\.(wants|requires|upholds)$/.test(name) && (await isThere(join(root, path, unit))))
        pieces.push(join(path, unit))
      if (name !== unit && name.endsWith('.service') && (await targetOf(join(root, path))) === unit) pieces.push(path)
    }
  }
  return pieces.map((from, index) => ({ from, to: join(RECORD_FOLDER, `${index}-${basename(from)}`) }))
}

/** Moves what has not been moved yet. @throws Failure STATE_UNWRITABLE */
export async function moveAside(root: string, { from, to }: Moved): Promise<void> {
  if (await isThere(join(root, from))) await move(join(root, from), join(root, to))
}

/** The place of a moved piece that somebody has filled since, other than by a link that enables or masks. */
export async function blocking(root: string, { from, to }: Moved): Promise<boolean> {
  if (!(await isThere(join(root, to)))) return false
  return (await isThere(join(root, from))) && (await targetOf(join(root, from))) === undefined
}

/** Moves back what is not back yet; a link that stands there now gives way. @throws Failure STATE_UNWRITABLE */
export async function moveBack(root: string, { from, to }: Moved): Promise<void> {
  if (await isThere(join(root, to))) await move(join(root, to), join(root, from))
}

/** The folders may be on two file systems, as when the state has a partition of its own. */
async function move(from: string, to: string): Promise<void> {
  try {
    await mkdir(dirname(to), { recursive: true })
    await rename(from, to).catch(async (error: unknown) => {
      if (errorCode(error) !== 'EXDEV') throw error
      await copyOver(from, to)
    })
    await syncFolder(dirname(to))
    await syncFolder(dirname(from))
  } catch (cause) {
    if (cause instanceof Failure) throw cause
    const fact = `cannot move ${from} to ${to}: ${errorCode(cause) ?? String(cause)}`
    throw new Failure('STATE_UNWRITABLE', fact, { cause, context: { path: to } })
  }
}

async function copyOver(from: string, to: string): Promise<void> {
  using temporary = temporaryName(to)
  await cp(from, temporary.path, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  await rename(temporary.path, to)
  await syncFolder(dirname(to))
  await rm(from, { recursive: true })
}

/** Whether there is anything of this name, a broken link included. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false
    throw error
  }
}

/** The last name of what a link points to; undefined for what is no link. */
async function targetOf(path: string): Promise<string | undefined> {
  return (await lstat(path)).isSymbolicLink() ? basename(await readlink(path)) : undefined
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return (await isThere(folder)) ? (await readdir(folder)).toSorted() : []
}
