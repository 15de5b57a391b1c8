import { nameOf } from '../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../agent/credential/credential-ref.ts'
import { next, table } from '../../agent/credential/lifecycle.ts'
import type { EventName, Lifecycle, LifecycleEvent, Move, Phase, Verdict } from '../../agent/credential/lifecycle.ts'

/** One legal step of the life cycle. */
export interface Step {
  readonly from: Phase
  readonly event: EventName
  readonly to: Phase
  /** The credential that the device would fall back on afterwards is the candidate. */
  readonly adopts: boolean
}

const active: CredentialRef = { lane: 'sas' }
const candidate: CredentialRef = { lane: 'x509', generation: 'gen-0001' }
const move: Move = { to: 'x509', fresh: false, cause: 'twin', version: 1, atMs: 0 }
const verdict: Verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'a specimen' }

const states: { readonly [P in Phase]: Extract<Lifecycle, { phase: P }> } = {
  newborn: { phase: 'newborn' },
  steady: { phase: 'steady', active },
  preparing: { phase: 'preparing', active, move },
  registering: { phase: 'registering', active, candidate, move },
  proving: { phase: 'proving', active, candidate, move },
  committing: { phase: 'committing', active, candidate, move },
  rollingBack: { phase: 'rollingBack', active, candidate, move, verdict },
}

const events: { readonly [E in EventName]: Extract<LifecycleEvent, { event: E }> } = {
  wanted: { event: 'wanted', move },
  prepared: { event: 'prepared', candidate },
  issued: { event: 'issued', instead: 'candidate', by: { lane: 'x509', generation: 'gen-0002' } },
  registered: { event: 'registered' },
  proved: { event: 'proved' },
  committed: { event: 'committed' },
  failed: { event: 'failed', verdict },
  withdrawn: { event: 'withdrawn' },
  restored: { event: 'restored' },
  exhausted: { event: 'exhausted' },
  restarted: { event: 'restarted' },
}

/** In the order of the table. */
export const phases = Object.keys(table) as readonly Phase[]

/** In the order in which a move that succeeds meets them. */
export const eventNames = Object.keys(events) as readonly EventName[]

/** Every step that the table allows, found by taking it from a specimen of its phase. */
export function legalSteps(): readonly Step[] {
  return phases.flatMap((from) =>
    eventNames.flatMap((event) => {
      if (!(event in table[from])) return []
      const after = next(states[from], events[event])
      return [
        {
          from,
          event,
          to: after.phase,
          adopts: after.phase === 'steady' && nameOf(after.active) === nameOf(candidate),
        },
      ]
    }),
  )
}
