import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { activeOf, moveOf, next } from '../../../agent/credential/lifecycle.ts'
import type { EventName, Lifecycle, LifecycleEvent, Move, Phase, Verdict } from '../../../agent/credential/lifecycle.ts'
import { gen, NOW, sas } from './policy-facts.ts'

const active: CredentialRef = sas
const candidate: CredentialRef = gen(1)
const move: Move = { to: 'x509', fresh: false, cause: 'twin', version: 7, atMs: NOW }
const newer: Move = { to: 'x509', fresh: true, cause: 'command', atMs: NOW + 1 }
const other: CredentialRef = gen(2)
const verdict: Verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'DPS says 401' }
const late: Verdict = { result: 'rolledBack', code: 'AUTH_PROOF_LATE', reason: 'it did not prove itself' }

const issued: CredentialRef = { lane: 'x509', generation: 'gen-0009' }

const states: { readonly [P in Phase]: Extract<Lifecycle, { phase: P }> } = {
  newborn: { phase: 'newborn' },
  steady: { phase: 'steady', active },
  preparing: { phase: 'preparing', active, move },
  registering: { phase: 'registering', active, candidate, move },
  proving: { phase: 'proving', active, candidate, move },
  committing: { phase: 'committing', active, candidate, move },
  rollingBack: { phase: 'rollingBack', active, candidate, move, verdict: late },
}

const events: { readonly [E in EventName]: Extract<LifecycleEvent, { event: E }> } = {
  wanted: { event: 'wanted', move: newer },
  prepared: { event: 'prepared', candidate: other },
  issued: { event: 'issued', instead: 'active', by: issued },
  registered: { event: 'registered' },
  proved: { event: 'proved' },
  committed: { event: 'committed' },
  failed: { event: 'failed', verdict },
  withdrawn: { event: 'withdrawn' },
  restored: { event: 'restored' },
  exhausted: { event: 'exhausted' },
  restarted: { event: 'restarted' },
}

const phases = Object.keys(states) as readonly Phase[]
const names = Object.keys(events) as readonly EventName[]

const interrupted = (where: Phase): Verdict => ({
  result: 'unreachable',
  code: 'AUTH_INTERRUPTED',
  reason: `the agent was interrupted while ${where}`,
})

type Step = readonly [sentence: string, from: Phase, event: EventName, to: Lifecycle]

/** Every step of the design, with all that the next phase knows. */
const steps: readonly Step[] = [
  ['the first certificate is the active one at once', 'newborn', 'prepared', { phase: 'steady', active: other }],
  ['a wish is prepared beside the active credential', 'steady', 'wanted', { phase: 'preparing', active, move: newer }],
  ['a newer wish takes the place of the older', 'preparing', 'wanted', { phase: 'preparing', active, move: newer }],
  [
    'a candidate that is ready is registered for the wish that asked for it',
    ...(['preparing', 'prepared'] as const),
    { phase: 'registering', active, candidate: other, move },
  ],
  ['what fails before the registration has touched nothing', 'preparing', 'failed', { phase: 'steady', active }],
  ['a wish that was taken back has touched nothing', 'preparing', 'withdrawn', { phase: 'steady', active }],
  [
    'a certificate that came with the registration is the active one',
    ...(['steady', 'issued'] as const),
    { phase: 'steady', active: issued },
  ],
  [
    'so it is while something else is prepared',
    ...(['preparing', 'issued'] as const),
    { phase: 'preparing', active: issued, move },
  ],
  [
    'a certificate that came with the registration of a candidate is the candidate',
    ...(['registering', 'issued'] as const),
    { phase: 'registering', active, candidate: issued, move },
  ],
  [
    'a way back that brought a certificate ends with that',
    ...(['rollingBack', 'issued'] as const),
    { phase: 'rollingBack', active: issued, candidate, move, verdict: late },
  ],
  [
    'what DPS has assigned has to prove itself',
    ...(['registering', 'registered'] as const),
    { phase: 'proving', active, candidate, move },
  ],
  [
    'what DPS does not take is rolled back, and why is kept',
    ...(['registering', 'failed'] as const),
    { phase: 'rollingBack', active, candidate, move, verdict },
  ],
  [
    'a power cut while registering is rolled back',
    ...(['registering', 'restarted'] as const),
    { phase: 'rollingBack', active, candidate, move, verdict: interrupted('registering') },
  ],
  [
    'what has proved itself is recorded',
    ...(['proving', 'proved'] as const),
    { phase: 'committing', active, candidate, move },
  ],
  [
    'what does not prove itself is rolled back, and why is kept',
    ...(['proving', 'failed'] as const),
    { phase: 'rollingBack', active, candidate, move, verdict },
  ],
  [
    'a power cut while proving is rolled back',
    ...(['proving', 'restarted'] as const),
    { phase: 'rollingBack', active, candidate, move, verdict: interrupted('proving') },
  ],
  [
    'what is recorded is the active credential',
    ...(['committing', 'committed'] as const),
    { phase: 'steady', active: candidate },
  ],
  ['a rollback ends where the move began', 'rollingBack', 'restored', { phase: 'steady', active }],
  ['so does one where both are refused', 'rollingBack', 'exhausted', { phase: 'steady', active }],
  [
    'a candidate that works in its turn is kept',
    ...(['rollingBack', 'proved'] as const),
    { phase: 'committing', active, candidate, move },
  ],
]

for (const [sentence, from, event, to] of steps) {
  test(`${sentence} (${from}, ${event})`, () => {
    assert.deepEqual(next(states[from], events[event]), to)
  })
}

test('every other pair of phase and event leaves the very same state', () => {
  const others = phases.flatMap((phase) =>
    names
      .filter((name) => !steps.some(([, from, event]) => from === phase && event === name))
      .map((name) => ({ phase, name })),
  )
  assert.equal(others.length, 7 * 11 - 20)
  for (const { phase, name } of others)
    assert.equal(next(states[phase], events[name]), states[phase], `${phase}, ${name}`)
})

test('no event but a commit, a first certificate or one that DPS issued changes the credential to fall back on', () => {
  for (const phase of phases)
    for (const name of names) {
      const after = activeOf(next(states[phase], events[name]))
      const isChange = (phase === 'newborn' && name === 'prepared') || (phase === 'committing' && name === 'committed')
      if (!isChange && name !== 'issued') assert.equal(after, activeOf(states[phase]), `${phase}, ${name}`)
    }
})

test('a second power cut finds what the first has left', () => {
  for (const phase of phases) {
    const once = next(states[phase], events.restarted)
    assert.equal(next(once, events.restarted), once, phase)
  }
})

test('only a device that waits for its first certificate has nothing to fall back on', () => {
  for (const phase of phases) assert.equal(activeOf(states[phase]), phase === 'newborn' ? undefined : active)
})

test('a move is under way from its preparation to its end', () => {
  for (const phase of phases)
    assert.equal(moveOf(states[phase]), phase === 'newborn' || phase === 'steady' ? undefined : move)
})
