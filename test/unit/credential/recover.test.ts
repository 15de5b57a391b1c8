import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSameRef, nameOf } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import { activeOf } from '../../../agent/credential/lifecycle.ts'
import type { Lifecycle } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { HeldCertificate } from '../../../agent/credential/policy.ts'
import { recover } from '../../../agent/credential/recover.ts'
import type { Found } from '../../../agent/credential/recover.ts'
import {
  fallbacks,
  files,
  foundEverywhere,
  onTheDevice,
  pair,
  phasesOf,
  recordOf,
  remembered,
} from './found-everywhere.ts'
import { gen, held, HOUR, NOW, policy, sas } from './policy-facts.ts'

const everywhere = [...foundEverywhere()].map((found) => ({ found, after: recover(found) }))

/** Whether a credential is on the device and may be used at all. */
function isThere(ref: CredentialRef, { inventory, policy: { x509Enabled }, record }: Found): boolean {
  if (ref.lane === 'sas') return inventory.sas === 'ready' && record?.memory.retirement === undefined
  return x509Enabled && inventory.certificates.some((each) => isSameRef(each.ref, ref))
}

const beforeOf = ({ record }: Found) => record && activeOf(record.lifecycle)
const isKept = (found: Found) => {
  const before = beforeOf(found)
  return before !== undefined && isThere(before, found)
}
/** The owner has configured the pair of files again, or for the first time. */
const bringsPair = (found: Found) => {
  const before = beforeOf(found)
  const { leftFiles } = found.record?.memory ?? {}
  return before?.lane === 'x509' && !isSameRef(before, files) && leftFiles === undefined && isThere(files, found)
}
const isProvenThere = ({ record, ...found }: Found) =>
  record?.lifecycle.phase === 'committing' && isThere(record.lifecycle.candidate, { record, ...found })

/** A rule that holds wherever it applies; `atLeast` keeps it from applying nowhere. */
function everywhereThat(
  sentence: string,
  applies: (found: Found) => boolean,
  holds: (after: AuthRecord, found: Found) => void,
) {
  test(sentence, () => {
    const cases = everywhere.filter(({ found }) => applies(found))
    assert.ok(cases.length > 100, `${cases.length} cases`)
    for (const { found, after } of cases) {
      try {
        holds(after, found)
      } catch (cause) {
        throw new Error(`${JSON.stringify(found)} becomes ${JSON.stringify(after)}`, { cause })
      }
    }
  })
}

everywhereThat(
  'the device stands on a credential that is there and allowed, or on one that has just proved itself, or waits for one',
  () => true,
  ({ lifecycle }, found) => {
    const works =
      'candidate' in lifecycle && lifecycle.phase === 'committing' ? lifecycle.candidate : activeOf(lifecycle)
    if (works !== undefined) assert.ok(isThere(works, found))
  },
)

everywhereThat(
  'a start that is cut off and begun anew ends where the first one did',
  // Before the first credential, and only then, there is no pointer. A pair that the device stood beside on SAS may be
  // taken for one that was brought back.
  (found) =>
    (found.record?.lifecycle.phase !== 'newborn' ||
      found.record.memory.lostX509 === true ||
      found.pointer === undefined) &&
    (beforeOf(found)?.lane !== 'sas' || isKept(found) || !isThere(files, found)),
  (after, found) => assert.deepEqual(recover({ ...found, record: after }), after),
)

everywhereThat(
  'a device on a credential that is there keeps it, unless its owner has brought the pair of files back',
  (found) => isKept(found) && !bringsPair(found),
  ({ lifecycle }, found) => assert.deepEqual(activeOf(lifecycle), beforeOf(found)),
)

everywhereThat(
  'a pair of files that is brought back is the owner’s wish, whatever was under way',
  bringsPair,
  (after) => assert.deepEqual(after.lifecycle, { phase: 'steady', active: files }),
)

everywhereThat(
  'what is under way goes on, and what is not proved is rolled back',
  (found) => isKept(found) && !bringsPair(found),
  ({ lifecycle }, found) => {
    const before = found.record?.lifecycle
    assert.ok(before)
    if (before.phase === 'committing' && !isThere(before.candidate, found))
      return assert.deepEqual(lifecycle, { phase: 'steady', active: before.active })
    if (before.phase !== 'registering' && before.phase !== 'proving') return assert.deepEqual(lifecycle, before)
    assert.ok(lifecycle.phase === 'rollingBack')
    assert.deepEqual([lifecycle.candidate, lifecycle.move], [before.candidate, before.move])
    assert.deepEqual([lifecycle.verdict.result, lifecycle.verdict.code], ['unreachable', 'AUTH_INTERRUPTED'])
  },
)

everywhereThat(
  'what has proved itself is recorded, whatever became of the credential before it',
  (found) => isProvenThere(found) && !bringsPair(found),
  ({ lifecycle }, found) => assert.deepEqual(lifecycle, found.record?.lifecycle),
)

const isGone = (found: Found) =>
  beforeOf(found) !== undefined && !isKept(found) && !bringsPair(found) && !isProvenThere(found)
const hasX509 = (found: Found) => found.inventory.certificates.some(({ ref }) => isThere(ref, found))
const mayFallBack = ({ policy: { fallback } }: Found) => fallback === fallbacks['on']

everywhereThat(
  'a credential that is gone is followed by a certificate, where there is one',
  (found) => isGone(found) && hasX509(found),
  ({ lifecycle, memory }) => {
    assert.ok(lifecycle.phase === 'steady' && lifecycle.active.lane === 'x509')
    assert.equal(memory.fallenBack, undefined)
  },
)

everywhereThat(
  'a certificate that is gone leads to SAS only by a fallback that the policy allows, counted and told as one',
  (found) => isGone(found) && !hasX509(found) && found.policy.x509Enabled && beforeOf(found)?.lane === 'x509',
  ({ lifecycle, memory }, found) => {
    if (!mayFallBack(found) || !isThere(sas, found)) return assert.deepEqual(lifecycle, { phase: 'newborn' })
    assert.deepEqual(lifecycle, { phase: 'steady', active: sas })
    const before = found.record?.memory ?? emptyMemory
    assert.deepEqual(
      [memory.moves, memory.fallbacks],
      [
        [...before.moves, NOW],
        [...before.fallbacks, NOW],
      ],
    )
    assert.deepEqual(memory.fallenBack, {
      ...{ from: beforeOf(found), cause: 'KEY_UNREADABLE', sinceMs: NOW, returnAtMs: NOW + 4 * HOUR, returnsFailed: 0 },
    })
    assert.deepEqual(memory.history.at(-1), { to: 'sas', cause: 'fallback', result: 'active', atMs: NOW })
  },
)

everywhereThat(
  'where X.509 is switched off SAS is the only lane, and no fallback',
  (found) => !found.policy.x509Enabled && isThere(sas, found),
  ({ lifecycle, memory }, found) => {
    assert.deepEqual(
      activeOf(lifecycle),
      isProvenThere(found) && beforeOf(found)?.lane === 'x509' ? beforeOf(found) : sas,
    )
    assert.equal(memory.fallenBack, undefined)
  },
)

everywhereThat(
  'SAS that is gone and no certificate: the device waits for one',
  (found) => isGone(found) && !hasX509(found) && beforeOf(found)?.lane === 'sas',
  ({ lifecycle }) => assert.deepEqual(lifecycle, { phase: 'newborn' }),
)

everywhereThat(
  'without a record the device goes on with what the pointer names',
  ({ record, pointer, ...found }) =>
    record === undefined && pointer !== undefined && isThere(pointer, { record, pointer, ...found }),
  ({ lifecycle }, { pointer }) => assert.deepEqual(lifecycle, { phase: 'steady', active: pointer }),
)

everywhereThat(
  'without a record, SAS in the place of a certificate that the pointer names needs a fallback that the policy allows',
  (found) =>
    found.record === undefined &&
    found.policy.x509Enabled &&
    found.pointer?.lane === 'x509' &&
    !isThere(found.pointer, found),
  ({ lifecycle, memory }, found) => {
    const active = activeOf(lifecycle)
    if (hasX509(found)) assert.equal(active?.lane, 'x509')
    else assert.deepEqual(active, mayFallBack(found) && isThere(sas, found) ? sas : undefined)
    if (active?.lane === 'sas') assert.equal(memory.fallenBack?.cause, 'KEY_UNREADABLE')
  },
)

everywhereThat(
  'what was remembered is never forgotten, but for marks of credentials that are not as they were',
  ({ record }) => record !== undefined,
  ({ memory }, { record }) => {
    assert.ok(record)
    for (const [key, value] of Object.entries(record.memory)) {
      if (key === 'leftFiles' || key === 'lostX509') continue
      const now = memory[key as keyof typeof memory]
      if (Array.isArray(value)) assert.deepEqual((now as readonly unknown[]).slice(0, value.length), value, key)
      else assert.deepEqual(now, value, key)
    }
  },
)

everywhereThat(
  'that a move has left the pair of files is remembered for as long as the pair is there',
  ({ record }) => record?.memory.leftFiles === true,
  ({ memory }, { inventory }) =>
    assert.equal(memory.leftFiles, inventory.certificates.some(({ ref }) => isSameRef(ref, files)) ? true : undefined),
)

const found = (part: Partial<Found>): Found => ({ ...onTheDevice, record: undefined, pointer: undefined, ...part })
const device = (certificates: readonly HeldCertificate[], secret: 'ready' | 'absent' = 'ready') => ({
  inventory: { certificates, sas: secret },
})
const bornOn = (born: 'sas' | 'x509', x509Enabled = true) => ({ policy: { ...policy, born, x509Enabled } })

const births: readonly (readonly [sentence: string, part: Partial<Found>, active: string])[] = [
  ['one that is to be born on SAS begins with it', { ...device([held(1)]), ...bornOn('sas') }, 'sas'],
  [
    'or with a certificate, where there is no SAS secret',
    { ...device([held(1)], 'absent'), ...bornOn('sas') },
    'gen-0001',
  ],
  [
    'one that is to be born on X.509 begins with its best certificate',
    { ...device([held(2), held(1)]), ...bornOn('x509') },
    'gen-0002',
  ],
  ['the pair that its owner has laid down comes first', { ...device([pair, held(1)]), ...bornOn('x509') }, 'files'],
  ['and waits for one, although there is a SAS secret', { ...device([]), ...bornOn('x509') }, 'nothing'],
  ['unless it may have none', { ...device([held(1)]), ...bornOn('x509', false) }, 'sas'],
  ['with nothing at all it waits', { ...device([], 'absent'), ...bornOn('sas') }, 'nothing'],
]

for (const [sentence, part, active] of births)
  for (const record of [undefined, recordOf({ phase: 'newborn' })])
    test(`a device without history${record ? ', which has waited already' : ''}: ${sentence}`, () => {
      const after = activeOf(recover(found({ ...part, record })).lifecycle)
      assert.equal(after === undefined ? 'nothing' : nameOf(after), active)
    })

test('SAS without a record counts as a fallback from the best certificate, since nobody knows why it is in use', () => {
  const { memory } = recover(found({ pointer: sas, ...device([held(2), held(1)]) }))
  assert.deepEqual(memory.fallenBack, {
    ...{ from: gen(2), cause: 'JOURNAL_TORN', sinceMs: NOW, returnAtMs: NOW + 4 * HOUR, returnsFailed: 0 },
  })
  assert.deepEqual([memory.moves, memory.fallbacks, memory.history], [[], [], []])
})

test('SAS without a record is no fallback where there is no certificate, or no history', () => {
  assert.deepEqual(recover(found({ pointer: sas, ...device([]) })).memory, emptyMemory)
  assert.deepEqual(recover(found({ ...device([held(1)]) })).memory, emptyMemory)
})

test('a generation that the pointer names beside the pair of files shows that a move has left the pair', () => {
  const { lifecycle, memory } = recover(found({ pointer: gen(1), ...device([pair, held(1)]) }))
  assert.deepEqual([lifecycle, memory.leftFiles], [{ phase: 'steady', active: gen(1) }, true])
})

test('a candidate that is there comes before other certificates when the active credential is gone', () => {
  const rolling = phasesOf(gen(1), gen(2)).find(({ phase }) => phase === 'rollingBack')
  const after = recover(found({ record: rolling && recordOf(rolling), ...device([held(3), held(2)]) }))
  assert.deepEqual(after.lifecycle, { phase: 'steady', active: gen(2) })
})

const lost: Lifecycle = { phase: 'steady', active: gen(1) }
const gone = (part: Partial<Found>) => recover(found({ record: recordOf(lost), ...device([]), ...part }))

test('no fallback begins by a wrong clock, or beyond those of the day', () => {
  assert.deepEqual(gone({}).lifecycle, { phase: 'steady', active: sas })
  assert.deepEqual(gone({ clock: 'wrong' }).lifecycle, { phase: 'newborn' })
  const spent = recordOf(lost, { ...remembered, fallbacks: [NOW - HOUR, NOW - HOUR] })
  assert.deepEqual(gone({ record: spent }).lifecycle, { phase: 'newborn' })
})

test('that X.509 was in use is remembered while a device waits, so that SAS does not take its place at the next start', () => {
  const off = { policy: { ...policy, fallback: { ...policy.fallback, enabled: false } } }
  const waiting = gone(off)
  assert.deepEqual([waiting.lifecycle.phase, waiting.memory.lostX509], ['newborn', true])
  assert.deepEqual(gone({ ...off, record: waiting }), waiting)
  const back = gone({ ...off, record: waiting, ...device([held(1)]) })
  assert.deepEqual(back, recordOf({ phase: 'steady', active: gen(1) }))
})

test('the pair of files that is taken away is gone like any other certificate', () => {
  const onFiles = recordOf({ phase: 'steady', active: files })
  const after = recover(found({ record: onFiles, pointer: files, ...device([held(1)]) }))
  assert.deepEqual(after.lifecycle, { phase: 'steady', active: gen(1) })
})

test('a key that does not answer at the start keeps its place: a token or a TPM may be late', () => {
  const late = { inventory: { ...device([held(2)]).inventory, outOfReach: ['gen-0001'] } }
  assert.deepEqual(recover(found({ record: recordOf(lost), ...late })).lifecycle, lost)
  assert.deepEqual(recover(found({ pointer: gen(1), ...late })).lifecycle, lost)
  // Without that word it is gone.
  assert.deepEqual(gone(device([held(2)])).lifecycle, { phase: 'steady', active: gen(2) })
})

test('in the place of a certificate that is gone comes one that is good, before one that was refused or has expired', () => {
  const refusedOne = recordOf(lost, { ...remembered, refusedGenerations: ['gen-0004'] })
  const certificates = [held(4), held(3, 40, -1), held(2)]
  assert.deepEqual(gone({ record: refusedOne, ...device(certificates) }).lifecycle, { phase: 'steady', active: gen(2) })
})
