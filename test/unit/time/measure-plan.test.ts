import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterMeasurement, afterMovement, afterSuspicion, dueMs, firstPlan } from '../../../agent/time/measure-plan.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const chances = [0, 0.5, 0.999]

test('the first measurement of an unsynchronised device comes within half a minute', () => {
  assert.deepEqual(
    chances.map((chance) => dueMs(firstPlan(7, chance), false)),
    [7, 7 + 15 * SECOND, 7 + 29_970],
  )
})

test('what is routine comes an hour later, or up to a quarter more, and never while synchronised', () => {
  for (const chance of chances) {
    const plan = afterMeasurement(0, chance)
    const due = dueMs(plan, false)
    assert.ok(due >= HOUR && due <= 1.25 * HOUR, `${due}`)
    assert.equal(dueMs(plan, true), Number.POSITIVE_INFINITY)
  }
})

test('a suspicion is measured soon, synchronised or not, but ten minutes after the last one at the earliest', () => {
  for (const chance of chances) {
    const plan = afterMeasurement(0, chance)
    const early = dueMs(afterSuspicion(plan, MINUTE, chance), true)
    assert.ok(early >= 10 * MINUTE && early <= 12.5 * MINUTE, `${early}`)
    const late = dueMs(afterSuspicion(plan, 30 * MINUTE, chance), true)
    assert.ok(late >= 30 * MINUTE && late <= 30.5 * MINUTE, `${late}`)
  }
})

test('a second suspicion does not put the measurement off', () => {
  const first = afterSuspicion(firstPlan(0, 0), 5 * MINUTE, 0.5)
  assert.equal(dueMs(afterSuspicion(first, 5 * MINUTE + 10 * SECOND, 0.9), true), dueMs(first, true))
})

test('a movement of the clock brings the routine forward and never puts it off', () => {
  const plan = afterMeasurement(0, 0.5)
  const due = dueMs(afterMovement(plan, 30 * MINUTE, 0.5), false)
  assert.ok(due >= 30 * MINUTE && due <= 30.5 * MINUTE, `${due}`)
  const soonDue = afterMovement(plan, 65 * MINUTE, 0.999)
  assert.ok(dueMs(soonDue, false) <= dueMs(plan, false))
  assert.equal(dueMs(soonDue, true), Number.POSITIVE_INFINITY)
})

test('a measurement answers every suspicion before it', () => {
  assert.equal(afterMeasurement(0, 0.5).suspectMs, undefined)
})
