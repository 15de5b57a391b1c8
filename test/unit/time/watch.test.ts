import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { bootMachine, DAY, HOUR, MINUTE, tellingSkew } from './machine.ts'
import type { Machine, MachineOptions } from './machine.ts'

const build = Date.UTC(2026, 5, 1)
const today = Date.UTC(2026, 11, 1)

/** A machine on which the watch runs until the test is over. */
async function boot(t: TestContext, options: Partial<MachineOptions> = {}): Promise<Machine> {
  const machine = bootMachine({ wallMs: today, buildMs: build, ...options })
  const over = new AbortController()
  t.after(() => over.abort(new Error('the test is over')))
  await machine.start(over.signal)
  return machine
}

const trustOf = (machine: Machine) => machine.watch.current().trust
const never = new AbortController().signal
const last = (machine: Machine) => machine.measuredAt.at(-1) ?? Number.NaN

test('a clock of which nobody speaks is plausible, and nothing is saved', async (t) => {
  const machine = await boot(t)
  await machine.clock.advance(DAY)
  assert.equal(trustOf(machine), 'plausible')
  assert.equal(machine.savedMs(), undefined)
})

test('a synchronised clock is trusted within a minute, and its time is saved', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  assert.equal(trustOf(machine), 'trusted')
  const saved = machine.savedMs() ?? 0
  assert.ok(saved >= today && saved <= today + MINUTE, `${saved - today}`)
})

for (const [name, wallMs] of [
  ['1970', 0],
  ['2000', Date.UTC(2000, 0, 1)],
  ['2099', Date.UTC(2099, 0, 1)],
] as const) {
  test(`a register that begins in ${name} is wrong, waits for NTP, and is trusted after its step`, async (t) => {
    const machine = await boot(t, { wallMs })
    assert.equal(trustOf(machine), 'wrong')
    assert.deepEqual(machine.log.codes(), ['CLOCK_UNTRUSTED'])
    const waited = machine.watch.untilPlausible(5 * MINUTE, never)
    await machine.clock.advance(17_000)
    machine.synchronise(today - machine.clock.now())
    await machine.clock.advance(5_000)
    assert.equal((await waited).trust, 'trusted')
    assert.ok(machine.log.texts().includes('the clock was set'))
    const saved = machine.savedMs() ?? 0
    assert.ok(saved >= today && saved <= today + MINUTE, new Date(saved).toISOString())
  })
}

test('a wrong clock is waited for no longer than allowed', async (t) => {
  const machine = await boot(t, { wallMs: 0 })
  const began = machine.clock.monotonicMs()
  const ends: string[] = []
  const waited = machine.watch.untilPlausible(5 * MINUTE, never).then(({ trust }) => ends.push(trust))
  await machine.clock.advance(5 * MINUTE - 1)
  assert.deepEqual(ends, [])
  await machine.clock.advance(1)
  await waited
  assert.deepEqual(ends, ['wrong'])
  assert.equal(machine.clock.monotonicMs() - began, 5 * MINUTE)
})

test('a plausible clock is not waited for, nor a wrong one when no time is allowed', async (t) => {
  const machine = await boot(t)
  assert.equal((await machine.watch.untilPlausible(5 * MINUTE, never)).trust, 'plausible')
  const wrong = await boot(t, { wallMs: 0 })
  assert.equal((await wrong.watch.untilPlausible(0, never)).trust, 'wrong')
})

test('a wait that is aborted rejects with the reason and leaves no timer of its own', async (t) => {
  const machine = await boot(t, { wallMs: 0 })
  const stop = new AbortController()
  const waited = machine.watch.untilPlausible(HOUR, stop.signal)
  const reason = new Error('stopped')
  await machine.clock.advance(0)
  stop.abort(reason)
  await assert.rejects(waited, reason)
  assert.ok(!machine.clock.pending().some((ms) => ms > MINUTE))
})

test('the watch ends with its signal and leaves no timer', async () => {
  const machine = bootMachine({ wallMs: today, buildMs: build })
  const stop = new AbortController()
  const running = machine.watch.run(stop.signal)
  const reason = new Error('stopped')
  await machine.clock.waiting()
  stop.abort(reason)
  await assert.rejects(running, reason)
  assert.deepEqual(machine.clock.pending(), [])
})

test('no wait is longer than a minute, whatever is awaited', async (t) => {
  const machine = await boot(t)
  for (let hour = 0; hour < 30; hour += 1) {
    for (const ms of machine.clock.pending()) assert.ok(ms <= MINUTE, `${ms}`)
    await machine.clock.advance(HOUR + 1)
  }
})

test('a clock that is set by hand is no longer trusted from that moment, and the step is named', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  assert.equal(trustOf(machine), 'trusted')
  assert.equal(machine.forgets(), 0)
  machine.set(3 * HOUR)
  assert.equal(trustOf(machine), 'plausible')
  assert.equal(machine.forgets(), 1)
  const step = machine.log.lines.find(({ text }) => text === 'the clock was set')
  assert.deepEqual(step?.fields, { seconds: 10_800 })
})

test('a clock that is set back by hand is below the time that was trusted, on disk or not', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(30 * MINUTE)
  machine.set(-10 * MINUTE)
  assert.equal(trustOf(machine), 'wrong')
  assert.match(machine.watch.current().reason, /trusted already/)
  const step = machine.log.lines.find(({ text }) => text === 'the clock was set')
  assert.deepEqual(step?.fields, { seconds: -600 })
})

test('NTP that steps the clock forward at run time keeps it trusted after the next look', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  machine.synchronise(2 * HOUR)
  assert.equal(trustOf(machine), 'plausible')
  await machine.clock.advance(1_000)
  assert.equal(trustOf(machine), 'trusted')
})

test('NTP that steps the clock back by hours at run time: wrong until the trusted time is reached again', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  machine.synchronise(-2 * HOUR)
  await machine.clock.advance(MINUTE)
  assert.equal(trustOf(machine), 'wrong')
  await machine.clock.advance(2 * HOUR - 5 * MINUTE - MINUTE)
  assert.equal(trustOf(machine), 'trusted')
})

test('a little slewing is no step', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  machine.clock.stepWall(-4_000)
  assert.equal(trustOf(machine), 'trusted')
  assert.ok(!machine.log.texts().includes('the clock was set'))
})

test('a machine that slept asks anew, and names the sleep', async (t) => {
  const machine = await boot(t)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  machine.sleep(8 * HOUR)
  assert.equal(trustOf(machine), 'plausible')
  assert.equal(machine.forgets(), 1)
  const line = machine.log.lines.find(({ text }) => text === 'the machine slept')
  assert.deepEqual(line?.fields, { seconds: 8 * 3_600 })
  await machine.clock.advance(1_000)
  assert.equal(trustOf(machine), 'trusted')
})

test('a process that stood still says so, and what was measured before holds', async (t) => {
  const machine = await boot(t)
  machine.serve(tellingSkew(0))
  await machine.clock.advance(MINUTE)
  machine.freeze(10 * MINUTE)
  await machine.clock.advance(MINUTE)
  const line = machine.log.lines.find(({ text }) => text === 'this process stood still')
  assert.deepEqual(line?.fields, { seconds: 600 })
  assert.equal(trustOf(machine), 'trusted')
  assert.equal(machine.watch.current().skewMs, 0)
})

test('a machine whose server is right is trusted without NTP, for a day', async (t) => {
  const machine = await boot(t, { chance: 0 })
  machine.serve(tellingSkew(-90_000))
  await machine.clock.advance(HOUR)
  assert.deepEqual(machine.measuredAt, [0, HOUR])
  assert.equal(trustOf(machine), 'trusted')
  assert.equal(machine.watch.current().skewMs, -90_000)
  machine.serve(undefined)
  await machine.clock.advance(DAY - 1)
  assert.equal(trustOf(machine), 'trusted')
  await machine.clock.advance(1)
  assert.equal(trustOf(machine), 'plausible')
  assert.equal(machine.watch.current().skewMs, undefined)
})

test('a measured skew moves with each step of the wall clock and with no sleep', async (t) => {
  const machine = await boot(t)
  machine.serve(tellingSkew(2 * HOUR))
  await machine.clock.advance(MINUTE)
  assert.equal(trustOf(machine), 'wrong')
  machine.set(2 * HOUR)
  assert.equal(machine.watch.current().skewMs, 0)
  assert.equal(trustOf(machine), 'trusted')
  machine.sleep(3 * HOUR)
  assert.equal(machine.watch.current().skewMs, 0)
})

test('a measurement that hangs on an uptime that jumped is dropped', async (t) => {
  const machine = await boot(t)
  machine.serve(tellingSkew(0))
  await machine.clock.advance(MINUTE)
  assert.equal(trustOf(machine), 'trusted')
  machine.jumpUptime(3 * HOUR)
  assert.equal(trustOf(machine), 'plausible')
})

test('a server that can only hint makes a clock wrong and never trusted', async (t) => {
  const machine = await boot(t, { chance: 0 })
  machine.serve(tellingSkew(0, false))
  await machine.clock.advance(2 * HOUR)
  assert.equal(trustOf(machine), 'plausible')
  machine.serve(tellingSkew(-DAY, false))
  await machine.clock.advance(2 * HOUR)
  assert.equal(trustOf(machine), 'wrong')
  assert.equal(machine.savedMs(), undefined)
})

test('no server is asked while the clock is synchronised', async (t) => {
  const machine = await boot(t, { chance: 0.9 })
  machine.synchronise()
  await machine.clock.advance(3 * DAY)
  assert.deepEqual(machine.measuredAt, [])
})

test('a suspicion is measured though the clock is synchronised, and not again within ten minutes', async (t) => {
  const machine = await boot(t, { chance: 0 })
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  const before = machine.measuredAt.length
  for (let second = 0; second < 1_800; second += 10) {
    machine.watch.suspect()
    await machine.clock.advance(10_000)
  }
  const asked = machine.measuredAt.slice(before)
  assert.equal(asked.length, 3)
  for (const [index, at] of asked.slice(1).entries()) assert.ok(at - (asked[index] ?? 0) >= 10 * MINUTE)
})

test('suspicions of a fleet are spread over half a minute', async (t) => {
  const machines = [0, 0.999].map((chance) => boot(t, { chance, synchronised: true }))
  const [early, late] = (await Promise.all(machines)) as [Machine, Machine]
  for (const machine of [early, late]) {
    await machine.clock.advance(MINUTE)
    machine.watch.suspect()
    await machine.clock.advance(MINUTE)
  }
  assert.ok(last(early) >= MINUTE && last(early) <= MINUTE + 1_000, `${last(early)}`)
  assert.ok(last(late) >= MINUTE + 29_000 && last(late) <= MINUTE + 31_000, `${last(late)}`)
})

test('a step without NTP is measured soon, long before the hour is over', async (t) => {
  const machine = await boot(t, { chance: 0 })
  machine.serve(tellingSkew(0))
  await machine.clock.advance(15 * MINUTE)
  assert.equal(machine.measuredAt.length, 1)
  machine.serve(tellingSkew(-3 * HOUR))
  machine.set(3 * HOUR)
  machine.watch.current()
  await machine.clock.advance(MINUTE)
  assert.equal(machine.measuredAt.length, 2)
  assert.equal(trustOf(machine), 'wrong')
})

test('a poisoned saved time does not bind a machine for ever: NTP that holds for an hour corrects it', async (t) => {
  const machine = await boot(t, { savedMs: today + 3_000 * DAY })
  assert.equal(trustOf(machine), 'wrong')
  machine.synchronise()
  await machine.clock.advance(HOUR)
  assert.equal(trustOf(machine), 'wrong')
  await machine.clock.advance(2 * MINUTE)
  assert.equal(trustOf(machine), 'trusted')
  const saved = machine.savedMs() ?? 0
  assert.ok(saved >= today + HOUR && saved <= today + 2 * HOUR, new Date(saved).toISOString())
})

test('a poisoned saved time is corrected by a server at once', async (t) => {
  const machine = await boot(t, { savedMs: today + 3_000 * DAY, chance: 0 })
  machine.serve(tellingSkew(0))
  await machine.clock.advance(HOUR + MINUTE)
  assert.equal(trustOf(machine), 'trusted')
  assert.ok((machine.savedMs() ?? 0) <= machine.clock.now())
})

test('a poisoned saved time stays as long as nothing vouches for the clock, and so after a hint', async (t) => {
  const machine = await boot(t, { savedMs: today + 3_000 * DAY, chance: 0 })
  machine.serve(tellingSkew(0, false))
  await machine.clock.advance(2 * DAY)
  assert.equal(trustOf(machine), 'wrong')
  assert.equal(machine.savedMs(), today + 3_000 * DAY)
})

test('NTP that is interrupted begins its hour anew', async (t) => {
  const machine = await boot(t, { savedMs: today + 3_000 * DAY })
  machine.synchronise()
  await machine.clock.advance(50 * MINUTE)
  machine.say(false)
  await machine.clock.advance(2 * MINUTE)
  machine.say(true)
  await machine.clock.advance(50 * MINUTE)
  assert.equal(trustOf(machine), 'wrong')
})

test('a clock before the newest certificate is wrong though it is after the build', async (t) => {
  const machine = await boot(t, { vaultMs: today + HOUR })
  assert.equal(trustOf(machine), 'wrong')
  await machine.clock.advance(HOUR)
  assert.equal(trustOf(machine), 'plausible')
})

test('the first proven connection saves a trusted time, and not one that nobody vouches for', async (t) => {
  const machine = await boot(t)
  await machine.watch.proven()
  assert.equal(machine.savedMs(), undefined)
  machine.synchronise()
  await machine.clock.advance(MINUTE)
  await machine.clock.advance(10_000)
  await machine.watch.proven()
  assert.equal(machine.savedMs(), today + MINUTE + 10_000)
})

test('whoever listens hears each change of trust once, with what was before, until he no longer does', async (t) => {
  const machine = await boot(t)
  const heard: string[] = []
  const forget = machine.watch.onChange((now, before) => heard.push(`${before.trust} > ${now.trust}`))
  machine.synchronise()
  await machine.clock.advance(10 * MINUTE)
  machine.say(false)
  await machine.clock.advance(10 * MINUTE)
  forget()
  machine.say(true)
  await machine.clock.advance(10 * MINUTE)
  assert.deepEqual(heard, ['plausible > trusted', 'trusted > plausible'])
})

test('an alarm is raised once for as long as the clock is wrong', async (t) => {
  const machine = await boot(t, { wallMs: 0 })
  await machine.clock.advance(DAY)
  assert.deepEqual(machine.log.codes(), ['CLOCK_UNTRUSTED'])
})

test('while the system contradicts a server, the server is asked again, and no faster than once an hour', async (t) => {
  const machine = await boot(t, { chance: 0 })
  machine.serve(tellingSkew(2 * HOUR, false))
  machine.synchronise()
  machine.watch.suspect()
  await machine.clock.advance(10 * HOUR)
  assert.equal(trustOf(machine), 'wrong')
  const gaps = machine.measuredAt.slice(1).map((at, index) => at - (machine.measuredAt[index] ?? 0))
  assert.ok(gaps.length >= 8 && gaps.every((gap) => gap >= 10 * MINUTE), gaps.join())
})
