import { watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'

/** Tells of changes in one folder. Changes between two calls are not lost. */
export interface FolderWatch extends Disposable {
  /**
   * Waits for a change, but no longer than `withinMs`.
   *
   * @returns whether there was one
   * @throws signal.reason when aborted
   */
  changed(withinMs: number, signal: AbortSignal): Promise<boolean>
}

/** @param warn told when the kernel gives no watch, or takes it back; time limits still work then */
export function watchFolder(folder: string, clock: Clock, warn: (failure: Failure) => void): FolderWatch {
  let stirred = false
  let wake: (() => void) | undefined
  const watcher = startWatch(folder, warn, () => {
    stirred = true
    wake?.()
  })

  return {
    async changed(withinMs, signal) {
      signal.throwIfAborted()
      const over = new AbortController()
      const change = new Promise<void>((resolve) => {
        wake = resolve
        if (stirred) resolve()
      })
      const limit = clock.wait(withinMs, AbortSignal.any([over.signal, signal]))
      try {
        await Promise.race([change, limit])
        return stirred
      } finally {
        wake = undefined
        stirred = false
        over.abort()
        await limit.catch(() => signal.throwIfAborted())
      }
    },
    [Symbol.dispose]: () => watcher?.close(),
  }
}

function startWatch(folder: string, warn: (failure: Failure) => void, changed: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, changed)
    watcher.on('error', (error) => {
      warn(asFailure(error))
    })
    return watcher
  } catch (error) {
    // No inotify watch left, for one: the time limit of `changed` still looks.
    warn(asFailure(error))
    return undefined
  }
}
