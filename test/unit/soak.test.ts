/** What the soak decides without a device: its plan, and its verdict. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { growthOf, lostOf, problemsOf } from '../../scripts/soaking/judge.ts'
import type { Look } from '../../scripts/soaking/judge.ts'
import { planFlaps } from '../../scripts/soaking/plan.ts'
import type { Flap } from '../../scripts/soaking/plan.ts'
import { createChance } from '../kit/chance.ts'

const MINUTE_MS = 60_000

/** An hour, a look every 10 s, with so much memory at each minute. */
function anHour(mbAt: (minute: number) => number): readonly Look[] {
  return Array.from({ length: 361 }, (_, index) => {
    const mb = mbAt(index / 6)
    return { atMs: index * 10_000, rssMb: mb, anonymousMb: mb, descriptors: 20, depth: 0 }
  })
}

/** The first sixty flaps. */
function take(seed: number): readonly Flap[] {
  const plan = planFlaps(createChance(seed))
  return Array.from({ length: 60 }, () => plan.next().value)
}

test('the plan is the same for the same seed, has every kind, and calms down after ten flaps', () => {
  assert.deepEqual(take(7), take(7))
  assert.notDeepEqual(take(7), take(8))
  const kinds = new Set(take(7).map(({ kind }) => kind))
  assert.deepEqual(kinds, new Set(['cut', 'halfOpen', 'unnoticed', 'refused', 'away', 'calm']))
  const calms = take(7).flatMap(({ kind }, place) => (kind === 'calm' ? [place] : []))
  assert.deepEqual(calms.slice(0, 4), [11, 22, 33, 45])
  for (const { kind, lastsMs, afterMs } of take(7))
    assert.ok(kind === 'calm' ? lastsMs > MINUTE_MS : lastsMs <= 5_000 && afterMs >= 1_000 && afterMs <= 5_000)
})

test('growth is from the median at 5 minutes to the median at the end', () => {
  const { earlyMb, lateMb, percent, mbPerHour } = growthOf(
    anHour((minute) => (minute >= 5 && minute <= 7 ? 40 : minute >= 58 ? 43 : 100)),
    'rssMb',
    0,
  )
  assert.deepEqual([earlyMb, lateMb], [40, 43])
  assert.ok(Math.abs(percent - 7.5) < 1e-9)
  assert.ok(Math.abs(mbPerHour - 3 / (53 / 60)) < 1e-9)
})

test('one peak in a window is no growth', () => {
  const { percent } = growthOf(
    anHour((minute) => (minute === 59 ? 400 : 40)),
    'anonymousMb',
    0,
  )
  assert.equal(percent, 0)
})

test('a run fails by more than 10 % of memory, by anything lost, and when nothing was measured', () => {
  const growth = { earlyMb: 40, lateMb: 44, percent: 10, mbPerHour: 4 }
  assert.deepEqual(problemsOf({ rss: growth }, 0), [])
  assert.deepEqual(problemsOf({ rss: { ...growth, percent: 10.2 } }, 0), ['rss grew by 10.2 %, 10 % are allowed'])
  assert.deepEqual(problemsOf({ rss: growth }, 2), ['2 samples were lost'])
  assert.equal(problemsOf({ rss: growthOf([], 'rssMb', 0) }, 0).length, 1)
})

test('lost is what was acknowledged or accepted and did not come, and what was given up', () => {
  assert.equal(lostOf({ acknowledged: 10, came: 11, missing: 0, dropped: 0 }), 0)
  assert.equal(lostOf({ acknowledged: 10, came: 8, missing: 0, dropped: 0 }), 2)
  assert.equal(lostOf({ acknowledged: 8, came: 9, missing: 3, dropped: 4 }), 7)
})
