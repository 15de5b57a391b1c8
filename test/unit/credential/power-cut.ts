import { existsSync } from 'node:fs'
import fileSystem from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import { createUnsynced } from './unsynced.ts'
import type { Loss, Unsynced } from './unsynced.ts'

export { losses } from './unsynced.ts'

type Call = (...given: never[]) => Promise<unknown>

/**
 * Runs `work` and lets every call that changes the disk fail from number `allowed` on, as when the power goes there; a
 * file that is being written at that moment keeps half of its content. Then, even if the work was done by that time,
 * the disk forgets what `loss` says of all that was not synced.
 *
 * @returns whether the cut came before the work was done
 */
export async function cutAfter(allowed: number, loss: Loss, work: () => Promise<unknown>): Promise<boolean> {
  const unsynced = createUnsynced()
  let calls = 0
  let cut = false
  const isPowered = () => {
    calls += 1
    if (calls > allowed) cut = true
    return !cut
  }
  const restore = await intercept(isPowered, unsynced)
  try {
    await work()
    return false
  } catch (error) {
    if (cut) return true
    throw error
  } finally {
    restore()
    unsynced.lose(loss)
  }
}

/** Counts the calls of this process that change a disk, and notes what each of them leaves unsynced. */
async function intercept(isPowered: () => boolean, unsynced: Unsynced): Promise<() => void> {
  const { open, mkdir, rename, rm } = fileSystem
  const prototype = await fileHandlePrototype()
  const paths = new WeakMap<object, string>()
  const pathOf = (handle: object) => paths.get(handle) ?? ''
  const power = () => {
    if (!isPowered()) throw new Error('the power is off')
  }
  const restore = [
    put(fileSystem, 'open', async (path: string, flags: number, mode?: number) => {
      power()
      const isNew = !existsSync(path)
      const handle = await open(path, flags, mode)
      paths.set(handle, path)
      if (isNew) unsynced.made(path)
      return handle
    }),
    put(fileSystem, 'mkdir', async (path: string, options: { recursive?: boolean; mode: number }) => {
      power()
      const missing = missingOf(path)
      const topmost = await mkdir(path, options)
      for (const each of missing) unsynced.made(each)
      return topmost
    }),
    put(fileSystem, 'rename', async (from: string, to: string) => {
      power()
      const before = unsynced.keep(to)
      await rename(from, to)
      unsynced.renamed(from, to, before)
    }),
    put(fileSystem, 'rm', async (path: string, options: object) => {
      power()
      const before = unsynced.keep(path)
      await rm(path, options)
      unsynced.removed(path, before)
    }),
    putMethod(prototype, 'writeFile', async (handle, run, [content]) => {
      const text = String(content)
      const powered = isPowered()
      unsynced.wrote(pathOf(handle), unsynced.keep(pathOf(handle)))
      await run(powered ? text : text.slice(0, text.length / 2))
      if (!powered) throw new Error('the power is off')
    }),
    putMethod(prototype, 'sync', async (handle, run) => {
      power()
      await run()
      unsynced.synced(pathOf(handle))
    }),
    putMethod(prototype, 'chmod', async (_handle, run, given) => {
      power()
      await run(...given)
    }),
  ]
  syncBuiltinESMExports()
  return () => {
    for (const each of restore) each()
    syncBuiltinESMExports()
  }
}

/** The folders of a path that are not there, topmost first. */
function missingOf(path: string): readonly string[] {
  return existsSync(path) ? [] : [...missingOf(dirname(path)), path]
}

function put(owner: object, name: string, call: Call): () => void {
  const original: unknown = Reflect.get(owner, name)
  Reflect.set(owner, name, call)
  return () => void Reflect.set(owner, name, original)
}

/** In place of a method of every open file: `run` does what the method does. */
type Method = (
  handle: FileHandle,
  run: (...given: unknown[]) => Promise<unknown>,
  given: readonly unknown[],
) => Promise<void>

function putMethod(prototype: FileHandle, name: 'writeFile' | 'sync' | 'chmod', call: Method): () => void {
  const original = Reflect.get(prototype, name) as Call
  return put(prototype, name, function called(this: FileHandle, ...given: unknown[]) {
    return call(this, (...changed) => Reflect.apply(original, this, changed) as Promise<unknown>, given)
  })
}

async function fileHandlePrototype(): Promise<FileHandle> {
  await using handle = await fileSystem.open(tmpdir())
  return Object.getPrototypeOf(handle) as FileHandle
}
