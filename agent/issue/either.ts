import type { Issuer } from './port.ts'

/**
 * Two issuers as one: both are asked, and the first chain counts. So a technician can lay down a certificate by hand,
 * and a fleet hand one in over the hub, whatever other issuer is configured and whatever is wrong with that.
 */
export function createEither(one: Issuer, other: Issuer): Issuer {
  let last = one
  return {
    get name() {
      return last.name
    },
    async issue(request, signal) {
      const over = new AbortController()
      const either = AbortSignal.any([signal, over.signal])
      const ask = async (issuer: Issuer) => ({ issuer, pem: await issuer.issue(request, either) })
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
