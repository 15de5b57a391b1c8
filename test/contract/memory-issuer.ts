import { once } from 'node:events'
import { EventEmitter } from 'node:events'
import type { Issuer } from '../../agent/issue/port.ts'

/** An issuer without a disk, with the hand of its operator. */
export interface MemoryIssuer extends Issuer {
  offer(registrationId: string, pem: string): Promise<void>
}

export function createMemoryIssuer(): MemoryIssuer {
  const offers = new Map<string, string>()
  const changes = new EventEmitter()
  return {
    name: 'memory',
    async issue({ registrationId }, signal) {
      for (;;) {
        signal.throwIfAborted()
        const pem = offers.get(registrationId)
        if (pem !== undefined) return pem
        await once(changes, 'change', { signal }).catch(() => signal.throwIfAborted())
      }
    },
    received({ registrationId }) {
      offers.delete(registrationId)
      return Promise.resolve()
    },
    offer(registrationId, pem) {
      offers.set(registrationId, pem)
      changes.emit('change')
      return Promise.resolve()
    },
  }
}
