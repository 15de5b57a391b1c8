import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import * as fc from 'fast-check'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { openJournal, parseRecord, serialiseRecord } from '../../../agent/credential/journal.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import { next } from '../../../agent/credential/lifecycle.ts'
import type { EventName, Lifecycle, LifecycleEvent, Move, Verdict } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Attempt, Memory } from '../../../agent/credential/memory.ts'
import type { Failure } from '../../../agent/failure.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { cutAfter, losses } from './power-cut.ts'

const anyInstant = fc.integer({ min: -8.64e15, max: 8.64e15 })
const anyCount = fc.nat()
const anyLane = fc.constantFrom('sas', 'x509')
const anyCode = fc.constantFrom('DPS_UNAUTHORIZED', 'AUTH_INTERRUPTED', 'NETWORK_DNS')
const anyCause = fc.constantFrom('twin', 'command', 'method', 'fallback', 'return', 'rescue', 'expiry', 'renewal')
const anyGeneration = fc.constantFrom('gen-0001', 'gen-0002', 'gen-12345', 'files')
const anyRef: fc.Arbitrary<CredentialRef> = fc.oneof(
  fc.constant<CredentialRef>({ lane: 'sas' }),
  anyGeneration.map((generation) => ({ lane: 'x509', generation }) as const),
)
/** One line for every field: one that is added to the type does not compile here until it has its own. */
type Fields<T> = { readonly [Field in keyof Required<T>]: fc.Arbitrary<NonNullable<T[Field]>> }

const moveFields: Fields<Move> = {
  to: anyLane,
  candidate: anyRef,
  fresh: fc.boolean(),
  cause: anyCause,
  version: anyCount,
  renew: fc.string({ unit: 'binary' }),
  because: anyCode,
  atMs: anyInstant,
}
const anyMove = sparse(moveFields, ['to', 'fresh', 'cause', 'atMs'])
const anySetback = fc.constantFrom('rolledBack', 'refused', 'unreachable', 'rejected')
const anyVerdict: fc.Arbitrary<Verdict> = plain({ result: anySetback, code: anyCode, reason: fc.string() })

const parts = { active: anyRef, candidate: anyRef, move: anyMove }
const anyLifecycle: fc.Arbitrary<Lifecycle> = fc.oneof(
  fc.constant<Lifecycle>({ phase: 'newborn' }),
  plain({ phase: fc.constant('steady'), active: anyRef }),
  plain({ phase: fc.constant('preparing'), active: anyRef, move: anyMove }),
  plain({ phase: fc.constantFrom('registering', 'proving', 'committing'), ...parts }),
  plain({ phase: fc.constant('rollingBack'), ...parts, verdict: anyVerdict }),
)

const attemptFields: Fields<Attempt> = {
  to: anyLane,
  cause: anyCause,
  version: anyCount,
  result: fc.oneof(fc.constant('active' as const), anySetback),
  code: anyCode,
  reason: fc.string(),
  atMs: anyInstant,
}
const anyAttempt = sparse(attemptFields, ['to', 'cause', 'result', 'atMs'])
const memoryFields: Fields<Memory> = {
  history: fc.array(anyAttempt, { maxLength: 8 }),
  settledVersion: anyCount,
  settledTo: anyLane,
  settledRenew: fc.string(),
  retry: plain({ move: anyMove, notBeforeMs: anyInstant, failed: anyCount }),
  moves: fc.array(anyInstant),
  fallbacks: fc.array(anyInstant),
  fallenBack: plain({
    from: anyRef,
    cause: anyCode,
    sinceMs: anyInstant,
    returnAtMs: anyInstant,
    returnsFailed: anyCount,
  }),
  refusals: plain({ of: anyRef, count: anyCount, firstAtMs: anyInstant, lastAtMs: anyInstant, code: anyCode }),
  lastRegistration: plain({ of: anyRef, atMs: anyInstant }),
  x509ProvenSinceMs: anyInstant,
  retirement: plain({ atMs: anyInstant, done: fc.boolean(), left: fc.array(fc.string()) }),
  leftFiles: fc.constant(true),
  lostX509: fc.constant(true),
  refusedGenerations: fc.array(anyGeneration),
  renewal: plain({ of: anyRef, failed: anyCount, lastAtMs: anyInstant }),
  longestOfflineMs: anyCount,
}
const anyMemory = sparse(memoryFields, ['history', 'moves', 'fallbacks', 'refusedGenerations'])
const anyRecord: fc.Arbitrary<AuthRecord> = plain({
  version: fc.constant(1),
  lifecycle: anyLifecycle,
  memory: anyMemory,
})

/** Only these fields are always there. */
function sparse<T>(fields: Fields<T>, requiredKeys: (keyof T)[]): fc.Arbitrary<T> {
  return fc.record(fields, { requiredKeys, noNullPrototype: true }) as fc.Arbitrary<T>
}

function plain<T>(fields: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>
}

const sas: CredentialRef = { lane: 'sas' }
const move: Move = { to: 'x509', fresh: false, cause: 'twin', version: 7, atMs: Date.UTC(2026, 0, 1) }
const steady: AuthRecord = { version: 1, lifecycle: { phase: 'steady', active: sas }, memory: emptyMemory }
const registering: AuthRecord = {
  version: 1,
  lifecycle: { phase: 'registering', active: sas, candidate: { lane: 'x509', generation: 'gen-0001' }, move },
  memory: { ...emptyMemory, moves: [move.atMs], settledVersion: 6 },
}

/** Steps a record with every event that there is. */
function stepAll({ lifecycle }: AuthRecord): void {
  const verdict: Verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'no' }
  const events: { readonly [E in EventName]: Extract<LifecycleEvent, { event: E }> } = {
    wanted: { event: 'wanted', move },
    prepared: { event: 'prepared', candidate: sas },
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
  for (const event of Object.values(events)) assert.equal(typeof next(lifecycle, event).phase, 'string')
}

async function openedIn(folder: string) {
  const repairs: Failure[] = []
  const clock = createFakeClock(Date.UTC(2026, 0, 2))
  return { journal: openJournal(folder, clock, (failure) => void repairs.push(failure)), repairs }
}

test('every record is read as it was written', () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      assert.deepEqual(parseRecord(serialiseRecord(record)), { ok: true, value: record })
    }),
    { numRuns: 1000 },
  )
})

test('a record that was changed anywhere is refused, or can be stepped: nothing throws', () => {
  const change = fc.record({ at: fc.nat(), cut: fc.nat(3), insert: fc.string({ maxLength: 3 }) })
  fc.assert(
    fc.property(anyRecord, fc.array(change, { minLength: 1, maxLength: 3 }), (record, changes) => {
      let text = serialiseRecord(record)
      for (const { at, cut, insert } of changes) {
        const from = at % text.length
        text = text.slice(0, from) + insert + text.slice(from + cut)
      }
      const parsed = parseRecord(text)
      if (parsed.ok) stepAll(parsed.value)
    }),
    { numRuns: 3000 },
  )
})

test('any other JSON is no record, and any value in the place of another is refused or can be stepped', () => {
  fc.assert(
    fc.property(fc.json(), (text) => assert.equal(parseRecord(text).ok, false)),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(anyRecord, fc.jsonValue(), fc.nat(), (record, value, which) => {
      let seen = 0
      const text = serialiseRecord(record)
      const places = (text.match(/":/g) ?? []).length
      const changed: unknown = JSON.parse(text, (_key, old: unknown) => (seen++ === which % (places + 1) ? value : old))
      const parsed = parseRecord(JSON.stringify(changed))
      if (parsed.ok) stepAll(parsed.value)
    }),
    { numRuns: 3000 },
  )
})

test('a word that this version does not know makes the record one that it does not understand', () => {
  const text = serialiseRecord(registering)
  const wrong: readonly (readonly [string, string])[] = [
    ['"version": 1', '"version": 2'],
    ['"phase": "registering"', '"phase": "dreaming"'],
    ['"cause": "twin"', '"cause": "whim"'],
    ['"to": "x509"', '"to": "tpm"'],
    ['"generation": "gen-0001"', '"generation": "../gen-0001"'],
    ['"generation": "gen-0001"', '"generation": "sas"'],
    ['"lane": "sas"', '"lane": "SAS"'],
    ['"fresh": false', '"fresh": 0'],
    ['"settledVersion": 6', '"settledVersion": -1'],
    ['"settledVersion": 6', '"settledVersion": 6.5'],
    ['"settledVersion": 6', '"settledVersion": "6"'],
    [`"atMs": ${move.atMs}`, '"atMs": 1e16'],
    [`"atMs": ${move.atMs}`, '"atMs": 1e999'],
    [`"atMs": ${move.atMs}`, '"atMs": null'],
    ['"history": []', '"history": {}'],
    ['"refusedGenerations": []', '"refusedGenerations": ["sas"]'],
  ]
  for (const [from, to] of wrong) {
    assert.ok(text.includes(from), from)
    assert.equal(parseRecord(text.replace(from, to)).ok, false, to)
  }
  const codes = ['"NO_SUCH_CODE"', '"toString"', '"__proto__"']
  for (const code of codes) {
    const retry = { move: { ...move, because: 'NETWORK_DNS' as const }, notBeforeMs: 0, failed: 1 }
    const coded = serialiseRecord({ ...steady, memory: { ...emptyMemory, retry } })
    assert.equal(parseRecord(coded).ok, true)
    assert.equal(parseRecord(coded.replace('"NETWORK_DNS"', code)).ok, false, code)
  }
})

test('a field that this version does not know is ignored', () => {
  const text = serialiseRecord(registering).replace('"fresh": false', '"fresh": false, "mood": "good"')
  assert.deepEqual(parseRecord(text), { ok: true, value: registering })
})

test('what is wrong with a record is said by the name of the field', () => {
  const parsed = parseRecord(serialiseRecord(registering).replace('"cause": "twin"', '"cause": "whim"'))
  assert.match(parsed.ok ? '' : parsed.problems.join(), /^lifecycle\.move\.cause: /)
})

test('a device without a record has none, and that is nothing to report', async () => {
  await using folder = await makeTemporaryFolder()
  const { journal, repairs } = await openedIn(folder.path)
  assert.equal(await journal.load(), undefined)
  await journal.save(registering)
  assert.deepEqual(await (await openedIn(folder.path)).journal.load(), registering)
  assert.deepEqual(repairs, [])
})

test('a torn record is set aside and reported once, and the next one is written in its place', async () => {
  for (const content of ['', '{', '\0\0\0\0', 'null', '[]', serialiseRecord(steady).slice(0, -3)]) {
    await using folder = await makeTemporaryFolder()
    const path = join(folder.path, 'credentials', 'journal.json')
    const { journal, repairs } = await openedIn(folder.path)
    await journal.save(steady)
    await writeFile(path, content)
    assert.equal(await journal.load(), undefined)
    assert.equal(await journal.load(), undefined)
    assert.deepEqual(
      repairs.map((repair) => repair.code),
      ['JOURNAL_TORN'],
    )
    const aside = `${path}.unreadable-2026-01-02T000000.000Z`
    assert.match(repairs[0]?.message ?? '', new RegExp(aside.replaceAll('.', '\\.')))
    assert.equal(await readFile(aside, 'utf8'), content)
    await journal.save(steady)
    assert.deepEqual(await journal.load(), steady)
  }
})

test('a record that cannot even be read is no reason to stop', async () => {
  await using folder = await makeTemporaryFolder()
  await mkdir(join(folder.path, 'credentials', 'journal.json'), { recursive: true })
  const { journal, repairs } = await openedIn(folder.path)
  assert.equal(await journal.load(), undefined)
  assert.match(repairs[0]?.message ?? '', /EISDIR/)
  await journal.save(steady)
  assert.deepEqual(await journal.load(), steady)
})

test('wherever a save is cut off, the old record is there or the new one, whole', async () => {
  const ends = new Set<string>()
  for (const loss of losses) {
    let allowed = 0
    for (; ; allowed += 1) {
      await using folder = await makeTemporaryFolder()
      const { journal, repairs } = await openedIn(folder.path)
      await journal.save(steady)
      const cut = await cutAfter(allowed, loss, () => journal.save(registering))
      const found = await journal.load()
      const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
      assert.ok(found?.lifecycle.phase === 'registering' || cut, `${when}: what resolved is durable`)
      assert.deepEqual(found, found?.lifecycle.phase === 'registering' ? registering : steady, when)
      assert.deepEqual(repairs, [], when)
      ends.add(found?.lifecycle.phase ?? 'none')
      if (!cut) break
    }
    assert.ok(allowed > 5, 'it was cut at every call')
  }
  assert.deepEqual([...ends], ['steady', 'registering'])
})

test('a first save that is cut off leaves no record or a whole one', async () => {
  for (const loss of losses) {
    for (let allowed = 0; ; allowed += 1) {
      await using folder = await makeTemporaryFolder()
      const { journal, repairs } = await openedIn(folder.path)
      const cut = await cutAfter(allowed, loss, () => journal.save(registering))
      const found = await journal.load()
      if (found === undefined) assert.ok(cut)
      else assert.deepEqual(found, registering)
      assert.deepEqual(repairs, [])
      const names = await readdir(folder.path)
      assert.ok(names.length <= 1)
      if (!cut) break
    }
  }
})
