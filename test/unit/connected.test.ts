import assert from 'node:assert/strict'
import { test } from 'node:test'
import { attend, createDesiredInbox } from '../../agent/connected.ts'
import { createFacts } from '../../agent/facts.ts'
import { Failure } from '../../agent/failure.ts'
import type { Session } from '../../agent/hub/session.ts'
import type { JsonObject } from '../../agent/system/json.ts'
import { createLog } from '../../agent/system/log.ts'
import { createNotify } from '../../agent/system/notify.ts'
import { createBell } from '../../agent/telemetry/bell.ts'
import type { Forwarder } from '../../agent/telemetry/forward/port.ts'
import { createSchedule } from '../../agent/telemetry/schedule.ts'
import { createFakeClock } from '../kit/clock.ts'
import { eventually } from '../kit/device.ts'
import { emptyLevel, outboxAt } from '../kit/outbox-level.ts'
import { configOf, loadText } from './config/folder.ts'

const config = configOf(await loadText(''))

/** Nothing is sent while nothing waits. */
const idleForwarder: Forwarder = {
  run: (_send, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
  sendBeside: () => undefined,
  facts: () => ({ inFlight: 0, window: 4, samplesPerSecond: 0, backlog: 0 }),
}

/** A session of which each report waits until the test lets the hub take it. */
function attended() {
  const clock = createFakeClock()
  const log = createLog({ level: 'error', clock, write: () => undefined })
  const news = createBell()
  const facts = createFacts(clock.now())
  const reports: { readonly patch: JsonObject; readonly take: () => void; readonly refuse: () => void }[] = []
  const session: Session = {
    ...{ host: 'hub-1.example', deviceId: 'press-07', presented: { lane: 'sas' } },
    peer: { address: '', tlsVersion: '', cipher: '' },
    ended: new Promise<Failure>(() => undefined),
    readTwin: () => Promise.resolve({ desired: { $version: 1 }, reported: { $version: 1 } }),
    report(patch) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      reports.push({ patch, take: resolve, refuse: () => reject(new Failure('TWIN_REFUSED', 'not now')) })
      return promise
    },
    serveMethods: () => Promise.resolve(),
    openCredentials: () => Promise.reject(new Error('nobody asks')),
    send: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  const over = new AbortController()
  const outbox = outboxAt(() => emptyLevel)
  const schedule = createSchedule({ clock, intervalMs: 1, take: () => Promise.resolve(), onFailure: () => undefined })
  const parts = {
    ...{ config, clock, log, news, facts, schedule, random: () => 0.5 },
    notify: createNotify({ environment: {}, clock, log }),
    forwarder: idleForwarder,
    surroundings: { config, outbox, intervalMs: () => 60_000 },
    methods: () => Promise.reject(new Error('nobody calls')),
    onTwinRead: () => undefined,
    onAcknowledged: () => undefined,
  }
  const work = attend(session, createDesiredInbox(), parts, over.signal)
  const report = (index: number) => eventually(() => Promise.resolve(reports[index]))
  return {
    ...{ clock, facts, news, report },
    count: () => reports.length,
    end: async () => {
      over.abort(new Error('the test is over'))
      await assert.rejects(work, /the test is over/)
    },
  }
}

const stateIn = (patch: JsonObject) => (patch['auth'] as { readonly state?: string } | undefined)?.state

test('what changes while the hub has a report is in the next one at once, without waiting for a tick', async () => {
  const { facts, news, report, clock, end } = attended()
  const first = await report(0)
  assert.equal(stateIn(first.patch), 'newborn')
  facts.awaitingSinceMs = clock.now()
  news.ring()
  first.take()
  assert.equal(stateIn((await report(1)).patch), 'awaitingCertificate')
  await end()
})

test('after a report that failed, what rang meanwhile waits for the time of the next try', async () => {
  const { facts, news, report, clock, count, end } = attended()
  const first = await report(0)
  facts.awaitingSinceMs = clock.now()
  news.ring()
  first.refuse()
  await clock.waiting(1)
  await clock.advance(500)
  assert.equal(count(), 1)
  await clock.advance(120_000)
  assert.equal(stateIn((await report(1)).patch), 'awaitingCertificate')
  await end()
})
