import fileSystem from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'

type Call = (...given: unknown[]) => Promise<unknown>

/** The calls that change a disk. */
const names = ['open', 'mkdir', 'rename', 'rm'] as const
const handleNames = ['writeFile', 'sync', 'chmod'] as const

/**
 * Runs `work` and lets every call that changes the disk fail from number `allowed` on, as for a process that was
 * killed there; a file that is being written at that moment keeps half of its content.
 *
 * @returns whether the cut came before the work was done
 */
export async function cutAfter(allowed: number, work: () => Promise<unknown>): Promise<boolean> {
  let calls = 0
  let cut = false
  const countCall = () => {
    calls += 1
    if (calls > allowed) cut = true
    return cut
  }
  const prototype = await fileHandlePrototype()
  const restore = [
    ...names.map((name) => replace(fileSystem as unknown as Record<string, Call>, name, countCall)),
    ...handleNames.map((name) => replace(prototype as unknown as Record<string, Call>, name, countCall)),
  ]
  syncBuiltinESMExports()
  try {
    await work()
    return false
  } catch (error) {
    if (cut) return true
    throw error
  } finally {
    for (const each of restore) each()
    syncBuiltinESMExports()
  }
}

function replace(owner: Record<string, Call>, name: string, countCall: () => boolean): () => void {
  const original = owner[name]
  if (original === undefined) throw new Error(`no ${name} to replace`)
  owner[name] = async function cutting(this: unknown, ...given: unknown[]) {
    const before = name === 'writeFile' && typeof given[0] === 'string' ? given[0] : undefined
    if (!countCall()) return Reflect.apply(original, this, given)
    if (before !== undefined) await Reflect.apply(original, this, [before.slice(0, before.length / 2)])
    throw new Error('the power is off')
  }
  return () => {
    owner[name] = original
  }
}

async function fileHandlePrototype(): Promise<FileHandle> {
  await using handle = await fileSystem.open(tmpdir())
  return Object.getPrototypeOf(handle) as FileHandle
}
