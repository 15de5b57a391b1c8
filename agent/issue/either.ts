import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { backoffMs } from '../system/backoff.ts'
import type { Clock } from '../system/clock.ts'
import type { Issuer } from './port.ts'

export interface EitherParts {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told of an issuer that is not able to work, as the folder on a disk that is full; it is asked again. */
  readonly warn: (failure: Failure) => void
}

const AGAIN = { baseMs: 5_000, capMs: 300_000 }

/**
 * Two issuers as one: both are asked, and the first chain counts. So a technician can lay down a certificate by hand,
 * and a fleet hand one in over the hub, whatever other issuer is configured and whatever is wrong with that.
 */
export function createEither(one: Issuer, other: Issuer, { clock, random, warn }: EitherParts): Issuer {
  let last = one
  return {
    get name() {
      return last.name
    },
    async issue(request, signal) {
      const over = new AbortController()
      const either = AbortSignal.any([signal, over.signal])
      const ask = async (issuer: Issuer) => {
        for (let failed = 0; ; failed += 1) {
          const outcome = await issuer.issue(request, either).catch(asFailure)
          either.throwIfAborted()
          if (typeof outcome === 'string') return { issuer, pem: outcome }
          warn(outcome)
          await clock.wait(backoffMs(failed, AGAIN, random), either)
        }
      }
      const asked = [ask(one), ask(other)]
      try {
        const { issuer, pem } = await Promise.race(asked)
        last = issuer
        return pem
      } finally {
        over.abort(new Error('another issuer was first'))
        await Promise.allSettled(asked)
      }
    },
    async received(request, reception) {
      if (reception.outcome !== 'accepted') return last.received(request, reception)
      await Promise.all([one.received(request, reception), other.received(request, reception)])
    },
  }
}
