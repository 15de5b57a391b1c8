import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, assert as assertProperty, nat, property } from 'fast-check'
import { admit } from '../../../agent/methods/limit.ts'
import type { Past } from '../../../agent/methods/limit.ts'

const limits = [
  { calls: 2, inMs: 1_000 },
  { calls: 3, inMs: 10_000 },
]

/** What becomes of calls at these instants: `true` let through, else how long they are to wait. */
function run(instants: readonly number[]): readonly (true | number)[] {
  let past: Past = []
  return instants.map((ms) => {
    const admission = admit(past, limits, ms)
    if (admission.ok) past = admission.past
    return admission.ok ? true : admission.waitMs
  })
}

test('as many as a limit says are let through, the next is told how long to wait', () => {
  assert.deepEqual(run([0, 400, 500]), [true, true, 500])
})

test('who waits as long as was said is let through', () => {
  assert.deepEqual(run([0, 400, 500, 999, 1000]), [true, true, 500, 1, true])
})

test('of two limits the stricter counts', () => {
  assert.deepEqual(run([0, 400, 1000, 2000, 9_999, 10_000]), [true, true, true, 8_000, 1, true])
})

test('in no stretch of time more are let through than it may have, and no more is remembered', () => {
  assertProperty(
    property(array(nat(3_000), { maxLength: 60 }), (steps) => {
      let past: Past = []
      let nowMs = 0
      const through: number[] = []
      for (const step of steps) {
        nowMs += step
        const admission = admit(past, limits, nowMs)
        if (!admission.ok) continue
        past = admission.past
        through.push(nowMs)
        assert.ok(past.length <= 3)
      }
      for (const { calls, inMs } of limits) {
        for (const [at, ms] of through.entries()) {
          assert.ok((through[at + calls] ?? Number.POSITIVE_INFINITY) - ms >= inMs)
        }
      }
    }),
  )
})
