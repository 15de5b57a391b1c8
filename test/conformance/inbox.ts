/** Things that arrive by themselves, by name: whoever asks gets the first that nobody took yet, past or future. */
export interface Inbox {
  put(name: string, value: unknown): void
  next(name: string): Promise<unknown>
  /** Rejects whoever waits, and whoever asks for what has not arrived. */
  close(reason: Error): void
}

interface Waiter {
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: Error) => void
}

export function createInbox(): Inbox {
  const arrived = new Map<string, unknown[]>()
  const waiting = new Map<string, Waiter[]>()
  let closed: Error | undefined
  return {
    put(name, value) {
      const waiter = waiting.get(name)?.shift()
      if (waiter !== undefined) waiter.resolve(value)
      else arrived.set(name, [...(arrived.get(name) ?? []), value])
    },
    next(name) {
      const early = arrived.get(name)
      if (early !== undefined && early.length > 0) return Promise.resolve(early.shift())
      if (closed !== undefined) return Promise.reject(closed)
      return new Promise((resolve, reject) => {
        waiting.set(name, [...(waiting.get(name) ?? []), { resolve, reject }])
      })
    },
    close(reason) {
      closed ??= reason
      for (const waiter of [...waiting.values()].flat()) waiter.reject(reason)
      waiting.clear()
    },
  }
}
