import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cleared, isPoison, suspectAfterClose, travelsAlone } from '../../../../agent/telemetry/forward/poison.ts'
import type { Suspect } from '../../../../agent/telemetry/forward/poison.ts'

const place = { epoch: 1, stream: 2, first: 30 }
const other = { epoch: 1, stream: 2, first: 31 }

function afterCloses(...alone: readonly boolean[]): Suspect | undefined {
  return alone.reduce<Suspect | undefined>((suspect, one) => suspectAfterClose(suspect, place, one), undefined)
}

test('one session that ended is no reason to suspect a message, two are', () => {
  assert.equal(travelsAlone(afterCloses(false), place), false)
  assert.equal(travelsAlone(afterCloses(false, false), place), true)
  assert.equal(travelsAlone(afterCloses(false, false), other), false)
})

test('only three closes while it was alone, beside others that were taken, make a message one that is never taken', () => {
  assert.equal(isPoison(afterCloses(false, false, false, false, false, false)), false)
  assert.equal(isPoison(afterCloses(false, false, true, true)), false)
  assert.equal(isPoison(afterCloses(false, false, true, true, true)), true)
})

test('a session that ended over another message makes that one the suspect', () => {
  const suspect = suspectAfterClose(afterCloses(false, false, true, true), other, false)
  assert.deepEqual(suspect, { ...other, ends: 1, alone: 0 })
})

test('a session that ended without a message on its way leaves the suspicion as it was', () => {
  const suspect = afterCloses(false, false, true)
  assert.equal(suspectAfterClose(suspect, undefined, false), suspect)
})

test('a message that the hub took is cleared, and only that one', () => {
  const suspect = afterCloses(false, false)
  assert.equal(cleared(suspect, place), undefined)
  assert.equal(cleared(suspect, other), suspect)
  assert.equal(cleared(suspect, { ...place, epoch: 2 }), suspect)
})
