/** Each code of the hub and what follows from it: azure-protocols, 3.4. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../../agent/failure.ts'
import { parseCredentialTopic } from '../../../agent/hub/credential-topics.ts'
import { readAnswer } from '../../../agent/issue/hub/answer.ts'
import { afterFailure, afterSilence, decide, MAX_TRIES } from '../../../agent/issue/hub/decide.ts'
import type { Next } from '../../../agent/issue/hub/decide.ts'

const RID = 'f5c1a9e2-0000-4000-8000-000000000001'
const MINUTE = 60_000
const HOUR = 60 * MINUTE

function after(status: number, body: unknown, failed = 0): Next {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return decide(readAnswer({ status, rid: RID, text }), { rid: RID, failed, nowMs: 0, random: () => 0.5 })
}

const refusal = (errorCode: number, more: object = {}) =>
  after(Math.floor(errorCode / 1000), {
    errorCode,
    message: 'the words of the hub',
    trackingId: 'X',
    info: null,
    ...more,
  })

/** What a 409 about this operation asks to be replaced, or what else is done. */
function replaced(requestId: unknown): string | undefined {
  const next = refusal(409004, { info: { requestId } })
  return next.do === 'again' ? next.replace : next.do
}

function until(operationExpires?: string): number | undefined {
  const next = after(202, { correlationId: 'c', operationExpires })
  return next.do === 'listen' ? next.untilMs : undefined
}

for (const code of [400001, 400004, 400006, 403010, 404001])
  test(`${code} ends it: DPS is asked`, () => {
    const next = refusal(code)
    assert.ok(next.do === 'giveUp')
    assert.equal(next.failure.code, 'HUB_ISSUES_NOTHING')
  })

for (const code of [400037, 400040])
  test(`${code} asks for another key`, () => {
    const next = refusal(code)
    assert.ok(next.do === 'giveUp')
    assert.equal(next.failure.code, 'HUB_CSR_REFUSED')
  })

for (const [code, fromMs, toMs] of [
  [412001, 500, 1_000],
  [429002, 500, 1_000],
  [429003, 500, 1_000],
  [500001, 2.5 * MINUTE, 5 * MINUTE],
  [503001, 2_500, 5_000],
  [503102, 2_500, 5_000],
  [412005, 15 * MINUTE, 30 * MINUTE],
  [555555, 2.5 * MINUTE, 5 * MINUTE],
] as const)
  test(`${code} passes: the same request goes again, first after ${fromMs} to ${toMs} ms`, () => {
    const next = refusal(code)
    assert.ok(next.do === 'again')
    assert.ok(next.afterMs >= fromMs && next.afterMs <= toMs, String(next.afterMs))
    assert.deepEqual([next.replace, next.anew], [undefined, undefined])
  })

test('what the hub wishes is honoured, up to an hour', () => {
  for (const [retryAfter, ms] of [
    [120, 120_000],
    [1e9, HOUR],
  ] as const) {
    const next = refusal(429002, { retryAfter })
    assert.ok(next.do === 'again')
    assert.equal(next.afterMs, ms)
  }
})

test('another operation is replaced by its ID, and by * where that is no ID; its own is waited for', () => {
  assert.deepEqual(['304937152', 'x', '-bad-', 7, RID].map(replaced), ['304937152', '*', '*', '*', 'listen'])
})

test('a 202 is listened to until it expires, by the hub, but for at least a minute and at most two days', () => {
  assert.equal(until('1970-01-01T06:00:00.565000000Z'), 6 * HOUR + 565)
  assert.equal(until('1969-01-01T00:00:00Z'), MINUTE)
  assert.equal(until('1999-01-01T00:00:00Z'), 48 * HOUR)
  assert.equal(until('soon'), 12 * HOUR)
})

test('after eight tries that came to nothing, whatever the reason, DPS is asked', () => {
  assert.equal(refusal(503001, {}).do, 'again')
  for (const next of [
    after(503, { errorCode: 503001 }, MAX_TRIES - 1),
    afterFailure(new Failure('HUB_NO_ANSWER', 'no SUBACK'), {
      rid: RID,
      failed: MAX_TRIES - 1,
      nowMs: 0,
      random: () => 0.5,
    }),
    afterSilence(false, { rid: RID, failed: MAX_TRIES - 1, nowMs: 0, random: () => 0.5 }),
  ]) {
    assert.ok(next.do === 'giveUp')
    assert.equal(next.failure.code, 'HUB_ISSUES_NOTHING')
  }
})

test('200 without certificates is no certificate', () => {
  for (const body of [{}, { certificates: 'MIIB' }, '', 'nonsense', { correlationId: 'c', certificates: [] }])
    assert.equal(after(200, body).do, 'again')
})

test('whatever comes as an answer leads to a decision', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999 }), fc.oneof(fc.json(), fc.string()), (status, text) => {
      assert.ok(['listen', 'take', 'again', 'giveUp'].includes(after(status, text).do))
    }),
  )
})

for (const [topic, status, rid] of [
  [`$iothub/credentials/res/200/?$rid=${RID}`, 200, RID],
  [`$iothub/credential/res/202/?$rid=${RID}`, 202, RID],
  [`$iothub/credentials/res/400/?$rid=${RID}&$version=1`, 400, RID],
  [`$iothub/credentials/res/409/${RID}`, 409, RID],
  ['$iothub/credentials/res/200/', 200, ''],
] as const)
  test(`${topic} is read`, () => {
    assert.deepEqual(parseCredentialTopic(topic), { status, rid })
  })

test('other topics are none', () => {
  for (const topic of ['$iothub/twin/res/200/?$rid=1', '$iothub/credentials/POST/issueCertificate', 'x'])
    assert.equal(parseCredentialTopic(topic), undefined)
})
