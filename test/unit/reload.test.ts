import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLiveConfig } from '../../agent/config/live.ts'
import type { Loaded } from '../../agent/config/load.ts'
import type { Attendance } from '../../agent/connected.ts'
import { createFacts } from '../../agent/facts.ts'
import { Failure } from '../../agent/failure.ts'
import { createReload, rememberStatus } from '../../agent/reload.ts'
import { createLog } from '../../agent/system/log.ts'
import { createNotify } from '../../agent/system/notify.ts'
import { createBell } from '../../agent/telemetry/bell.ts'
import { createSchedule } from '../../agent/telemetry/schedule.ts'
import { createFakeClock } from '../kit/clock.ts'
import { configOf, loadText } from './config/folder.ts'

const good = await loadText('[log]\nlevel = "error"\n')

/** A reload of which each call of systemd waits until the test lets it through. */
function bench(load: () => Loaded = () => good) {
  const clock = createFakeClock()
  const log = createLog({ level: 'error', clock, write: () => undefined })
  const told: string[] = []
  const waiting: (() => void)[] = []
  const tell = (what: string) =>
    new Promise<void>((resolve) => {
      told.push(what)
      waiting.push(resolve)
    })
  const notify = rememberStatus({
    ...createNotify({ environment: {}, clock, log }),
    reloading: () => tell('RELOADING'),
    ready: (text) => tell(`READY ${text}`),
    status: () => Promise.resolve(),
  })
  const live = createLiveConfig(configOf(good))
  const schedule = createSchedule({ clock, intervalMs: 1, take: () => Promise.resolve(), onFailure: () => undefined })
  const facts = createFacts(clock.now())
  const parts = { config: live.config, clock, log, notify, facts, schedule, news: createBell() }
  const ready = Promise.withResolvers<void>()
  const off = new AbortController()
  let loads = 0
  const counted = () => {
    loads += 1
    return load()
  }
  const flow = { takeUp: () => undefined }
  const needs = { live, flow, load: counted, ready: ready.promise, lastStatus: notify.lastStatus }
  const reload = createReload(needs, parts as unknown as Attendance, off.signal)
  const goOn = async () => {
    await clock.advance(0)
    for (const resolve of waiting.splice(0)) resolve()
    await clock.advance(0)
  }
  const turn = () => clock.advance(0)
  return { turn, reload, ready, off, notify, told, goOn, loads: () => loads }
}

test('systemd hears of a reload before and after it, and sees its newest status again', async () => {
  const { reload, ready, notify, told, goOn, loads } = bench()
  const done = reload()
  await goOn()
  assert.deepEqual(told, [], 'nothing before it was told that the agent is ready')
  ready.resolve()
  await notify.status('connected')
  await goOn()
  assert.deepEqual([told[0], loads()], ['RELOADING', 1])
  await goOn()
  assert.deepEqual(told, ['RELOADING', 'READY connected'])
  assert.deepEqual(await done, { taken: [], overruled: [], pending: [] })
})

test('an invalid configuration ends a reload as well, also for systemd', async () => {
  const { reload, ready, told, goOn } = bench(() => ({ ok: false, problems: [] }))
  ready.resolve()
  const done = reload()
  for (let turn = 0; turn < 3; turn += 1) await goOn()
  const outcome = await done
  assert.ok(outcome instanceof Failure)
  assert.equal(outcome.code, 'CONFIG_INVALID')
  assert.deepEqual(told, ['RELOADING', 'READY '])
})

test('one reload at a time: all who ask meanwhile share the next one', async () => {
  const { turn, reload, ready, told, goOn, loads } = bench()
  ready.resolve()
  const first = reload()
  await goOn()
  const others = [reload(), reload(), reload()]
  assert.equal(new Set([first, ...others]).size, 2)
  await turn()
  assert.equal(told.filter((what) => what === 'RELOADING').length, 1)
  for (let turn = 0; turn < 6; turn += 1) await goOn()
  await Promise.all([first, ...others])
  assert.equal(loads(), 2)
  assert.deepEqual(told, ['RELOADING', 'READY ', 'RELOADING', 'READY '])
})

test('an agent that stops reads nothing any more, and does not call itself ready', async () => {
  const { reload, ready, off, told, goOn, loads } = bench()
  ready.resolve()
  off.abort(new Error('over'))
  const done = reload()
  await goOn()
  assert.ok((await done) instanceof Failure)
  assert.deepEqual([told, loads()], [[], 0])
})
