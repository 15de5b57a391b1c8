/** What a program does to its disk, told from outside: each step may be the last one, or fail. */
import { existsSync, readFileSync } from 'node:fs'
import fileSystem from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { relative } from 'node:path'

/** One step of a change. `content`: the bytes are about to go into a file that nobody sees under its name yet. */
export interface DiskStep {
  readonly at: 'content' | 'before' | 'after'
  /** `credentials/active`, `credentials/journal.json proving`, `rm sas.key`: below the folder, as it will be named. */
  readonly name: string
}

/**
 * Tells of every write, rename and removal below a folder until the function that comes back is called. What `visit`
 * throws is what the call fails with.
 */
export async function followDisk(folder: string, visit: (step: DiskStep) => void): Promise<() => void> {
  const { open, rename, rm } = fileSystem
  const { prototype, writeFile } = await openFiles()
  const paths = new WeakMap<object, string>()
  const isBelow = (path: unknown): path is string => typeof path === 'string' && path.startsWith(`${folder}/`)
  const nameOf = (path: string, content: () => string) => {
    const name = relative(folder, path).replaceAll(TEMPORARY, '$1')
    return name.endsWith('journal.json') ? `${name} ${standingIn(content())}` : name
  }

  fileSystem.open = async (...given: Parameters<typeof open>) => {
    const handle = await open(...given)
    if (isBelow(given[0])) paths.set(handle, given[0])
    return handle
  }
  fileSystem.rename = async (from, to) => {
    if (!isBelow(from) || !isBelow(to)) return rename(from, to)
    const name = nameOf(to, () => readFileSync(from, 'utf8'))
    visit({ at: 'before', name })
    await rename(from, to)
    visit({ at: 'after', name })
  }
  fileSystem.rm = async (path, options) => {
    if (!isBelow(path) || path.endsWith('.tmp') || !existsSync(path)) return rm(path, options)
    const name = `rm ${nameOf(path, () => '')}`
    visit({ at: 'before', name })
    await rm(path, options)
    visit({ at: 'after', name })
  }
  prototype.writeFile = async function written(this: FileHandle, ...given: Parameters<FileHandle['writeFile']>) {
    const path = paths.get(this)
    if (path !== undefined) visit({ at: 'content', name: nameOf(path, () => textOf(given[0])) })
    return Reflect.apply(writeFile, this, given)
  }
  syncBuiltinESMExports()
  return () => {
    Object.assign(fileSystem, { open, rename, rm })
    prototype.writeFile = writeFile
    syncBuiltinESMExports()
  }
}

/** A name that is going to be another: `.active.1234-<uuid>.tmp`. */
const TEMPORARY = /\.([^/]+)\.\d+-[0-9a-f-]{36}\.tmp/g

function textOf(content: unknown): string {
  return typeof content === 'string' ? content : ''
}

/** Where the device stands by this record: the phase, and whether SAS is being retired or is. */
function standingIn(text: string): string {
  const { lifecycle, memory } = JSON.parse(text) as {
    readonly lifecycle: { readonly phase: string }
    readonly memory: { readonly retirement?: { readonly done: boolean } }
  }
  const { retirement } = memory
  if (retirement === undefined) return lifecycle.phase
  return `${lifecycle.phase}, SAS ${retirement.done ? 'retired' : 'retiring'}`
}

async function openFiles(): Promise<{
  readonly prototype: FileHandle
  readonly writeFile: FileHandle['writeFile']
}> {
  await using handle = await fileSystem.open('/')
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  // oxlint-disable-next-line typescript/unbound-method -- it is called with its handle
  return { prototype, writeFile: prototype.writeFile }
}
