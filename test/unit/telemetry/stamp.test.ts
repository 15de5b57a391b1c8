import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createStamp, readBootId } from '../../../agent/telemetry/stamp.ts'
import { createFakeClock } from '../../kit/clock.ts'

const START = Date.UTC(2026, 2, 4, 12)
const MINUTE = 60_000
const DAY = 86_400_000

/** A machine that was started ten minutes ago by its clock. */
function machine(first: 'trusted' | 'plausible' | 'wrong') {
  const clock = createFakeClock(START)
  let trust = first
  let judged = 0
  const stamping = createStamp({
    clock,
    trust: () => {
      judged += 1
      return trust
    },
    uptimeMs: () => clock.monotonicMs() + 10 * MINUTE,
    bootId: 'this-boot',
  })
  return {
    ...stamping,
    clock,
    judged: () => judged,
    /** The clock is set, and judged anew. */
    async becomes(next: typeof trust, byMs = 0) {
      trust = next
      clock.stepWall(byMs)
      await clock.advance(1_000)
    },
  }
}

test('a trusted clock is sure', () => {
  const { stamp, bootTime } = machine('trusted')
  assert.deepEqual(stamp(), { createdAtMs: START })
  assert.deepEqual(bootTime(), { bootId: 'this-boot', beganAtMs: START - 10 * MINUTE })
})

test('a wrong clock is unsure, and dates no boot', () => {
  const { stamp, bootTime } = machine('wrong')
  assert.deepEqual(stamp(), { createdAtMs: START, unsure: { bootId: 'this-boot', uptimeMs: 10 * MINUTE } })
  assert.deepEqual(bootTime(), { bootId: 'this-boot' })
})

test('a plausible clock that was never trusted in this boot is unsure, and dates the boot for want of better', () => {
  const { stamp, bootTime } = machine('plausible')
  assert.deepEqual(stamp().unsure, { bootId: 'this-boot', uptimeMs: 10 * MINUTE })
  assert.equal(bootTime().beganAtMs, START - 10 * MINUTE)
})

test('a sample of a late clock is set right once the clock has been', async () => {
  const device = machine('plausible')
  const { createdAtMs, unsure } = device.stamp()
  await device.becomes('trusted', 3 * DAY)
  const { beganAtMs = NaN } = device.bootTime()
  assert.equal(beganAtMs + (unsure?.uptimeMs ?? NaN), createdAtMs + 3 * DAY)
})

test('a clock that was trusted stays sure when nobody vouches for it any more', async () => {
  const device = machine('trusted')
  device.stamp()
  await device.becomes('plausible')
  assert.ok(!('unsure' in device.stamp()))
})

test('a clock that was set after it was trusted is unsure, and the boot keeps its date', async () => {
  const device = machine('trusted')
  const { beganAtMs } = device.bootTime()
  for (const byMs of [5 * MINUTE + 1, -10 * MINUTE - 2]) {
    await device.becomes('plausible', byMs)
    assert.ok('unsure' in device.stamp())
    assert.equal(device.bootTime().beganAtMs, beganAtMs)
  }
  await device.becomes('wrong', -DAY)
  assert.equal(device.bootTime().beganAtMs, beganAtMs)
})

test('a drift of five minutes is none that was set', async () => {
  const device = machine('trusted')
  device.stamp()
  await device.becomes('plausible', 5 * MINUTE)
  assert.ok(!('unsure' in device.stamp()))
})

test('what contradicts a clock that was not set contradicts the trust that it had', async () => {
  const device = machine('trusted')
  device.stamp()
  await device.becomes('wrong')
  assert.ok('unsure' in device.stamp())
  assert.deepEqual(device.bootTime(), { bootId: 'this-boot' })
})

test('the clock is judged once a second, and at once when it is set', async () => {
  const device = machine('trusted')
  for (let at = 0; at < 100; at += 1) device.stamp()
  assert.equal(device.judged(), 1)
  await device.clock.advance(999)
  device.stamp()
  assert.equal(device.judged(), 1)
  await device.clock.advance(1)
  device.stamp()
  assert.equal(device.judged(), 2)
  device.clock.stepWall(-1_000)
  device.stamp()
  assert.equal(device.judged(), 3)
})

test('the boot has the name that the system gave it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'boot-'))
  try {
    const path = join(folder, 'boot_id')
    await writeFile(path, '3b0c-1\n')
    assert.equal(await readBootId(path), '3b0c-1')
    await writeFile(path, '\n')
    assert.notEqual(await readBootId(path), await readBootId(path))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('where the system names no boot, no two starts take theirs for the same', async () => {
  const [one, other] = [await readBootId('/nowhere/boot_id'), await readBootId('/nowhere/boot_id')]
  assert.match(one, /^[0-9a-f-]{36}$/)
  assert.notEqual(one, other)
})
