import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode } from './error-code.ts'

/** A name beside a path, for what is going to be renamed to it. Ours until it is disposed of. */
export interface TemporaryName extends Disposable {
  readonly path: string
}

/** `.active.1234-<uuid>.tmp`: hidden, and it says which process is at work. */
const NAME = /^\..+\.(\d+)-[0-9a-f-]{36}\.tmp$/

/** What this process is making at the moment. */
const making = new Set<string>()

/** A name in the same folder that nobody else has. */
export function temporaryName(path: string): TemporaryName {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomUUID()}.tmp`)
  making.add(temporary)
  return { path: temporary, [Symbol.dispose]: () => void making.delete(temporary) }
}

/**
 * Removes what a crash or a power cut left unfinished in a folder; another process that is still at it is let be. No
 * folder is fine. System errors come as they are.
 */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const pid = NAME.exec(name)?.[1]
    const path = join(folder, name)
    if (pid === undefined || making.has(path) || isAnother(Number(pid))) continue
    await rm(path, { recursive: true, force: true })
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Whether another process lives under this number. Our own may have been an earlier run's: containers count from 1. */
function isAnother(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return errorCode(error) === 'EPERM'
  }
}
