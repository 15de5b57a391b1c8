import assert from 'node:assert/strict'
import { test } from 'node:test'
import { difference } from '../../../agent/twin/difference.ts'
import { isObject } from '../../../agent/twin/json.ts'
import type { Json, JsonObject } from '../../../agent/twin/json.ts'
import { cut, fitTwin, twinLimits } from '../../../agent/twin/limits.ts'
import { buildReported, ourPart } from '../../../agent/twin/reported.ts'
import type { ReportFacts } from '../../../agent/twin/reported.ts'

const facts: ReportFacts = {
  auth: {
    mode: 'x509',
    lane: 'x509',
    state: 'active',
    certificate: {
      thumbprintSha256: 'AB'.repeat(32),
      thumbprintSha1: 'CD'.repeat(20),
      subject: 'CN=press-07',
      issuer: 'CN=Factory',
      serial: '01',
      notBefore: '2026-01-01T00:00:00.000Z',
      notAfter: '2026-04-01T00:00:00.000Z',
      issuedBy: 'folder',
    },
  },
  agent: { version: '0.1.0', runtime: 'node 24.21.0', arch: 'arm64', os: 'Debian 12', startedAtMs: 0 },
  outbox: { depth: 0, bytes: 0, dropped: 0 },
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
    auth: facts.auth,
    agent: {
      version: '0.1.0',
      runtime: 'node 24.21.0',
      arch: 'arm64',
      os: 'Debian 12',
      startedAt: '1970-01-01T00:00:00.000Z',
    },
    outbox: { depth: 0, bytes: 0, dropped: 0 },
    warnings: [{ code: 'CERTIFICATE_EXPIRES_SOON', since: '1970-01-02T00:00:00.000Z' }],
    telemetry: { intervalSeconds: { value: 5, ac: 200, av: 3, ad: 'applied' } },
    log: { level: { value: 'info', ac: 400, av: 3, ad: 'must be one of …' } },
  })
})

test('what else the caller knows of the certificate stays out of the twin', () => {
  const certificate = { ...facts.auth.certificate, keyKind: 'ec-p256' } as ReportFacts['auth']['certificate'] & object
  const reported = buildReported({ ...facts, auth: { ...facts.auth, certificate } })
  assert.deepEqual(reported, buildReported(facts))
})

test('nothing changed, nothing to send', () => {
  assert.equal(difference(buildReported(facts), buildReported(facts)), undefined)
})

test('an answer that is gone is taken out of the twin, and only what changed is sent', () => {
  const next = buildReported({ ...facts, outbox: { depth: 4, bytes: 0, dropped: 0 }, acknowledgements: [] })
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
  const certificate = { ...facts.auth.certificate, subject: long, issuer: long } as ReportFacts['auth']['certificate'] &
    object
  const acknowledgements = Array.from({ length: 16 }, (_, at) => ({
    key: `telemetry.${'k'.repeat(62)}${at}`,
    ac: 404 as const,
    av: Number.MAX_SAFE_INTEGER,
    ad: 'no such setting; telemetry has: intervalSeconds',
  }))
  const warnings = Array.from({ length: 1000 }, () => ({ code: 'CERTIFICATE_EXPIRES_SOON' as const, sinceMs: 0 }))
  const reported = buildReported({
    ...facts,
    auth: { ...facts.auth, certificate },
    agent: { ...facts.agent, os: long },
    warnings,
    acknowledgements,
  })
  assert.ok(Buffer.byteLength(JSON.stringify(reported)) < twinLimits.sectionBytes)
})
