/** What waits to be dealt with, one after the other, by whoever owns it. Unbounded: its writers are few and ours. */
export interface Inbox<T> {
  put(item: T): void
  /** @throws signal.reason when aborted */
  take(signal: AbortSignal): Promise<T>
}

export function createInbox<T>(): Inbox<T> {
  const items: T[] = []
  let arrived = Promise.withResolvers<void>()
  return {
    put(item) {
      items.push(item)
      arrived.resolve()
    },
    async take(signal) {
      for (;;) {
        signal.throwIfAborted()
        const item = items.shift()
        if (item !== undefined) return item
        arrived = Promise.withResolvers<void>()
        await orAborted(arrived.promise, signal)
      }
    },
  }
}

/** Resolves as `work` does, or when `signal` aborts; leaves no listener behind. */
export async function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<void>()
  const end = () => ended.resolve()
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  try {
    await Promise.race([work, ended.promise])
  } finally {
    signal.removeEventListener('abort', end)
  }
}
