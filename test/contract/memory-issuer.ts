import { once, EventEmitter } from 'node:events'
import type { Issuer } from '../../agent/issue/port.ts'
import type { Clock } from '../../agent/system/clock.ts'

/** An issuer without a disk, with the hand of its operator. */
export interface MemoryIssuer extends Issuer {
  offer(registrationId: string, pem: string): Promise<void>
}

export function createMemoryIssuer(clock: Clock): MemoryIssuer {
  const offers = new Map<string, { readonly pem: string; readonly fromMs: number }>()
  const changes = new EventEmitter()
  return {
    name: 'memory',
    async issue({ registrationId }, signal) {
      for (;;) {
        signal.throwIfAborted()
        const offer = offers.get(registrationId)
        const waitMs = offer === undefined ? Infinity : offer.fromMs - clock.monotonicMs()
        if (offer !== undefined && waitMs <= 0) return offer.pem
        const over = new AbortController()
        const either = AbortSignal.any([signal, over.signal])
        const events = [once(changes, 'change', { signal: either }), clock.wait(waitMs, either)]
        await Promise.race(events).finally(() => over.abort())
        await Promise.allSettled(events)
      }
    },
    received({ registrationId }, { outcome }) {
      const offer = offers.get(registrationId)
      if (outcome !== 'postponed') offers.delete(registrationId)
      else if (offer !== undefined) offers.set(registrationId, { ...offer, fromMs: clock.monotonicMs() + 60_000 })
      return Promise.resolve()
    },
    offer(registrationId, pem) {
      offers.set(registrationId, { pem, fromMs: 0 })
      changes.emit('change')
      return Promise.resolve()
    },
  }
}
