import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import type { Lifecycle, Move } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { AuthPolicy, HeldCertificate, Inventory } from '../../../agent/credential/policy.ts'
import type { Found } from '../../../agent/credential/recover.ts'
import { DAY, failure, fallbackPolicy, gen, held, HOUR, NOW, policy, sas } from './policy-facts.ts'

export const files = { lane: 'x509', generation: 'files' } as const
export const pair: HeldCertificate = { ref: files, notBeforeMs: NOW - DAY, notAfterMs: NOW + 30 * DAY }

/** Something that must outlive every start. */
export const remembered: Memory = {
  ...emptyMemory,
  history: [{ to: 'x509', cause: 'twin', version: 3, result: 'active', atMs: NOW - DAY }],
  settledVersion: 3,
  settledTo: 'x509',
  moves: [NOW - HOUR],
  refusedGenerations: ['gen-0009'],
}

/** Half of chance, so that each pause has its nominal length. */
export const onTheDevice: Omit<Found, 'record' | 'pointer'> = {
  inventory: { certificates: [held(1)], sas: 'ready' },
  policy,
  nowMs: NOW,
  clock: 'trusted',
  random: () => 0.5,
}

export const recordOf = (lifecycle: Lifecycle, memory: Memory = remembered): AuthRecord => ({
  version: 1,
  lifecycle,
  memory,
})

/** Each phase of a move between two credentials. */
export function phasesOf(active: CredentialRef, candidate: CredentialRef): readonly Lifecycle[] {
  const move: Move = { to: candidate.lane, fresh: false, cause: 'twin', version: 4, atMs: NOW - HOUR }
  const under = { active, candidate, move }
  const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'DPS says 401' } as const
  return [
    { phase: 'preparing', active, move },
    { phase: 'registering', ...under },
    { phase: 'proving', ...under },
    { phase: 'committing', ...under },
    { phase: 'rollingBack', ...under, verdict },
  ]
}

const lifecycles: readonly Lifecycle[] = [
  { phase: 'newborn' },
  ...[sas, gen(1), files].map((active) => ({ phase: 'steady', active }) as const),
  ...phasesOf(sas, gen(1)),
  ...phasesOf(gen(1), sas),
  ...phasesOf(gen(1), gen(2)),
  ...phasesOf(files, gen(1)),
]

const certificates: readonly Inventory['certificates'][] = [[], [held(1)], [held(2)], [held(2), held(1)]]
const secrets: readonly Inventory['sas'][] = ['ready', 'absent', failure('SAS_SECRET_EXPOSED')]

export const fallbacks: Readonly<Record<string, AuthPolicy['fallback']>> = {
  on: fallbackPolicy,
  off: { ...fallbackPolicy, enabled: false },
  ended: { ...fallbackPolicy, untilMs: NOW },
  endless: { ...fallbackPolicy, untilMs: undefined },
}

const retirement = { atMs: NOW - DAY, done: false, left: [] }
const memories: readonly Memory[] = [remembered, { ...remembered, leftFiles: true }, { ...remembered, retirement }]
/** Only a device that waits for a certificate can have lost its last. */
const waitingAgain = recordOf({ phase: 'newborn' }, { ...remembered, lostX509: true })

/** Everything that a start may find, each with each. */
export function* foundEverywhere(): Generator<Found> {
  const records = [
    undefined,
    waitingAgain,
    ...lifecycles.flatMap((state) => memories.map((memory) => recordOf(state, memory))),
  ]
  for (const record of records)
    for (const pointer of [undefined, sas, gen(1), files])
      for (const inventory of inventories())
        for (const each of policies()) yield { ...onTheDevice, record, pointer, inventory, policy: each }
}

function inventories(): readonly Inventory[] {
  const held = certificates.flatMap((own) => [own, [pair, ...own]])
  return held.flatMap((each) => secrets.map((secret) => ({ certificates: each, sas: secret })))
}

function policies(): readonly AuthPolicy[] {
  return Object.values(fallbacks).flatMap((fallback) =>
    [true, false].flatMap((x509Enabled) =>
      (['sas', 'x509'] as const).map((born) => ({ ...policy, fallback, x509Enabled, born })),
    ),
  )
}
