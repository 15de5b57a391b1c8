import type { Failure } from '../failure.ts'
import { nameOf } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Judgement } from './judge-wish.ts'
import type { Move } from './lifecycle.ts'
import type { AuthOrder, OrderAnswer } from './rotation-ports.ts'

/** The move that an order asks for; a device without any credential has nothing to register again. */
export function moveOfOrder({ order, cause }: AuthOrder, active: CredentialRef | undefined, nowMs: number): Move {
  switch (order) {
    case 'sas':
    case 'x509':
      return { to: order, fresh: false, cause, atMs: nowMs }
    case 'renew':
      return { to: 'x509', fresh: true, cause, atMs: nowMs }
    case 'reprovision':
      return { to: active?.lane ?? 'x509', fresh: false, cause, atMs: nowMs, ...(active && { candidate: active }) }
  }
}

/**
 * What is said to whoever gave the order.
 *
 * @param candidate the credential that is at hand; undefined when a certificate has to be asked for
 */
export function answerOf(
  judgement: Judgement,
  plan: {
    readonly move: Move
    readonly active: CredentialRef | undefined
    readonly candidate: CredentialRef | undefined
  },
  rehearse: boolean,
): OrderAnswer {
  switch (judgement.verdict) {
    case 'already':
      return { accepted: true, steps: [`nothing to do: the device is on ${plan.move.to} already`] }
    case 'wait':
    case 'rejected':
      return { accepted: false, code: judgement.code, steps: [judgement.reason] }
    case 'go':
      return { accepted: true, steps: stepsOf(plan, rehearse) }
  }
}

/** The answer to a rehearsal, with what was found on the way to DPS. */
export function rehearsed(answer: OrderAnswer, obstacle: Failure | undefined): OrderAnswer {
  const found =
    obstacle === undefined
      ? 'DPS was reached with what would be shown to it; whether it takes the credential shows at the registration only'
      : `DPS cannot be reached so: ${obstacle.code}: ${obstacle.message}`
  const steps = [found, ...answer.steps]
  return obstacle === undefined ? { ...answer, steps } : { accepted: false, code: obstacle.code, steps: [found] }
}

function stepsOf(
  { active, candidate }: { readonly active: CredentialRef | undefined; readonly candidate: CredentialRef | undefined },
  rehearse: boolean,
): readonly string[] {
  const now = active === undefined ? 'nothing' : nameOf(active)
  const [will, are] = rehearse ? ['would', 'would be'] : ['will', 'are']
  return [
    candidate === undefined
      ? `a key and a CSR ${are} made, and the certificate awaited; the device goes on with ${now} meanwhile`
      : `${nameOf(candidate)} ${will} be registered with DPS; the session with ${now} goes on meanwhile`,
    `once DPS has assigned it, the device ${will} connect with it, read its twin and have one message acknowledged`,
    `if any of that fails, ${now} ${will} be registered again and the device goes on with it`,
  ]
}
