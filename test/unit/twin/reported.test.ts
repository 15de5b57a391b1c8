import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import { Failure } from '../../../agent/failure.ts'
import { readDesired } from '../../../agent/twin/desired.ts'
import { difference } from '../../../agent/twin/difference.ts'
import { isObject } from '../../../agent/twin/json.ts'
import type { Json, JsonObject } from '../../../agent/twin/json.ts'
import { cut, fitTwin, twinLimits } from '../../../agent/twin/limits.ts'
import { buildReported, ourPart } from '../../../agent/twin/reported.ts'
import type { ReportedCertificate, ReportFacts } from '../../../agent/twin/reported.ts'
import { authFacts, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'

const certificate: ReportedCertificate = {
  thumbprintSha256: 'AB'.repeat(32),
  thumbprintSha1: 'CD'.repeat(20),
  subject: 'CN=press-07',
  issuer: 'CN=Factory',
  serial: '01',
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2026-04-01T00:00:00.000Z',
  issuedBy: 'folder',
}

const outbox: ReportFacts['outbox'] = {
  ...{ depth: 0, bytes: 0 },
  dropped: { full: 1, expired: 20, refused: 300, torn: 4000 },
  place: 'disk',
}

const facts: ReportFacts = {
  auth: { view: viewAuth(authFacts({ phase: 'steady', active: onX509 })), certificate },
  agent: { version: '0.1.0', runtime: 'node 24.21.0', arch: 'arm64', os: 'Debian 12', startedAtMs: 0 },
  clock: { trust: 'trusted', skewSeconds: -1.6 },
  outbox,
  warnings: [{ code: 'CERTIFICATE_EXPIRES_SOON', sinceMs: 86_400_000 }],
  acknowledgements: [
    { key: 'telemetry.intervalSeconds', value: 5, ac: 200, av: 3, ad: 'applied' },
    { key: 'log.level', value: 'info', ac: 400, av: 3, ad: 'must be one of …' },
  ],
}

/** What the hub does with a reported patch. Source: RFC 7396 section 2. */
function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch
  const merged = new Map(Object.entries(isObject(target) ? target : {}))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergePatch(merged.get(key) ?? null, value))
  }
  return Object.fromEntries(merged)
}

test('the reported part is that of the contract', () => {
  assert.deepEqual(buildReported(facts), {
    auth: {
      ...{ __t: 'c', mode: 'x509', lane: 'x509', state: 'active', certificate },
      fallback: { enabled: true, until: '2027-01-31T00:00:00.000Z', active: false, leftToday: 2 },
      sas: { available: true, retired: false, from: '/etc/iot-device-agent/secrets/sas.key' },
      history: [],
    },
    agent: {
      version: '0.1.0',
      runtime: 'node 24.21.0',
      arch: 'arm64',
      os: 'Debian 12',
      startedAt: '1970-01-01T00:00:00.000Z',
    },
    clock: { trusted: true, skewSeconds: -2 },
    outbox: {
      ...{ depth: 0, bytes: 0, dropped: 4321, place: 'disk' },
      droppedBy: { full: 1, expired: 20, refused: 300, torn: 4000 },
    },
    warnings: [{ code: 'CERTIFICATE_EXPIRES_SOON', since: '1970-01-02T00:00:00.000Z' }],
    telemetry: { __t: 'c', intervalSeconds: { value: 5, ac: 200, av: 3, ad: 'applied' } },
    log: { __t: 'c', level: { value: 'info', ac: 400, av: 3, ad: 'must be one of …' } },
  })
})

test('only a clock that somebody has confirmed is trusted, and a skew that nobody measured is not reported', () => {
  for (const trust of ['plausible', 'wrong'] as const)
    assert.deepEqual(buildReported({ ...facts, clock: { trust } })['clock'], { trusted: false })
})

test('what else the caller knows of the certificate stays out of the twin', () => {
  const more = { ...certificate, keyKind: 'ec-p256', keyPem: 'secret' }
  const reported = buildReported({ ...facts, auth: { ...facts.auth, certificate: more } })
  assert.deepEqual(reported, buildReported(facts))
})

test('the time of the oldest sample is told as long as one waits', () => {
  const waiting = buildReported({ ...facts, outbox: { ...outbox, depth: 1, bytes: 9, oldestAtMs: 86_400_000 } })
  assert.deepEqual(difference(buildReported(facts), waiting), {
    outbox: { depth: 1, bytes: 9, oldest: '1970-01-02T00:00:00.000Z' },
  })
  assert.deepEqual(difference(waiting, buildReported(facts)), { outbox: { depth: 0, bytes: 0, oldest: null } })
})

test('what else the caller knows of the outbox stays out of the twin', () => {
  const more = { ...outbox, maxBytes: 1, aside: 1, trouble: new Failure('DISK_FULL', 'no space') }
  assert.deepEqual(buildReported({ ...facts, outbox: more }), buildReported(facts))
})

test('nothing changed, nothing to send', () => {
  assert.equal(difference(buildReported(facts), buildReported(facts)), undefined)
})

test('an answer that is gone is taken out of the twin, and only what changed is sent', () => {
  const next = buildReported({ ...facts, outbox: { ...outbox, depth: 4 }, acknowledgements: [] })
  assert.deepEqual(difference(buildReported(facts), next), { outbox: { depth: 4 }, telemetry: null, log: null })
})

const documents: readonly JsonObject[] = [
  {},
  { a: 1 },
  { a: { b: 1, c: 2 } },
  { a: { b: 1 } },
  { a: {} },
  { a: [1, { b: 2 }] },
  { a: [{ b: 2 }, 1] },
  { a: [1, { b: 2 }, 3] },
  { a: 'text', d: { e: { f: true } } },
  { d: { e: { f: false, g: [] } } },
  buildReported(facts),
]

for (const [from, previous] of documents.entries()) {
  for (const [to, next] of documents.entries()) {
    test(`the patch from document ${from} to ${to} makes the one into the other`, () => {
      const patch = difference(previous, next)
      assert.deepEqual(patch === undefined ? previous : mergePatch(previous, patch), next)
      assert.equal(patch === undefined, from === to)
    })
  }
}

test('the order of keys inside an array says nothing', () => {
  assert.equal(difference({ a: [{ b: 1, c: 2 }] }, { a: [{ c: 2, b: 1 }] }), undefined)
})

test('after a restart only our own sections are compared, and others are never touched', () => {
  const inHub = { ...buildReported(facts), myApp: { state: 1 }, $version: 12, $metadata: {} }
  assert.equal(difference(ourPart(inHub), buildReported(facts)), undefined)
  assert.deepEqual(ourPart(undefined), {})
})

test('a text that is too long for a twin is cut between characters', () => {
  assert.equal(cut('€€€', 7), '€€')
  assert.equal(cut('😀😀', 7), '😀')
  const { text } = fitTwin({ text: 'ü'.repeat(5000) })
  assert.equal(text, 'ü'.repeat(twinLimits.stringBytes / 2))
})

test('what a twin refuses is left out alone', () => {
  const refused = { 'a.b': 1, a$: 1, 'a b': 1, 'a\u0007': 1, '': 1, ['k'.repeat(1025)]: 1 }
  const numbers = { big: 4_503_599_627_370_497, small: -4_503_599_627_370_497, nan: NaN, inf: Infinity }
  const good = { edge: -4_503_599_627_370_496, half: 0.5, ['k'.repeat(1024)]: 1 }
  assert.deepEqual(fitTwin({ ...refused, ...numbers, ...good }), good)
})

test('ten levels are kept, an eleventh is not', () => {
  const nested = (levels: number): JsonObject => (levels === 1 ? { leaf: 1 } : { deeper: nested(levels - 1) })
  assert.deepEqual(fitTwin(nested(10)), nested(10))
  assert.equal(JSON.stringify(fitTwin(nested(11))).includes('leaf'), false)
})

test('the largest facts that can be make a document that a twin takes', () => {
  const long = '€'.repeat(100_000)
  const acknowledgements = Array.from({ length: 16 }, (_, at) => ({
    key: `telemetry.${'k'.repeat(62)}${at}`,
    ac: 404 as const,
    av: Number.MAX_SAFE_INTEGER,
    ad: 'no such setting; telemetry has: intervalSeconds',
  }))
  const unknown = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`${'k'.repeat(61)}${at}`, long]))
  const desired = readDesired({ auth: { mode: long, renew: long, sasRetired: long, ...unknown }, $version: 7 })
  assert.ok(desired.ok)
  const attempt = { ...refusedAttempt, reason: long }
  const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: long } as const
  const view = viewAuth(
    authFacts(
      { phase: 'rollingBack', active: onSas, candidate: onX509, move: wishedMove, verdict },
      {
        history: Array.from({ length: 8 }, () => attempt),
        fallenBack: { from: onX509, cause: 'DPS_UNAUTHORIZED', sinceMs: 0, returnAtMs: 0, returnsFailed: 0 },
        retirement: { atMs: 0, done: true, left: Array.from({ length: 100 }, () => long) },
      },
      {
        sas: new Failure('SAS_SECRET_UNREADABLE', long),
        sasSecret: { from: long, direct: true },
        waiting: { code: 'AUTH_MOVES_SPENT', reason: long, untilMs: 0 },
        audit: { seq: 1, head: 'f'.repeat(64), intact: true },
      },
    ),
  )
  const reported = buildReported({
    ...facts,
    auth: {
      view,
      certificate: { ...certificate, subject: long, issuer: long },
      desired: { ...desired.value, readAtMs: 0 },
    },
    agent: { ...facts.agent, os: long },
    warnings: Array.from({ length: 1000 }, () => ({ code: 'CERTIFICATE_EXPIRES_SOON' as const, sinceMs: 0 })),
    acknowledgements,
  })
  assert.ok(Buffer.byteLength(JSON.stringify(reported)) < twinLimits.sectionBytes)
  const { refused, history } = reported['auth'] as { refused: readonly object[]; history: readonly object[] }
  assert.deepEqual([refused.length, history.length], [11, 8])
})
