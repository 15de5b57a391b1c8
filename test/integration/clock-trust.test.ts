import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../agent/system/clock.ts'
import type { Clock } from '../../agent/system/clock.ts'
import { createLog } from '../../agent/system/log.ts'
import { builtAtMs } from '../../agent/time/build-time.ts'
import { openGoodTime } from '../../agent/time/floor.ts'
import { measureSkew } from '../../agent/time/measure.ts'
import { createSynchronisation } from '../../agent/time/synchronised.ts'
import { systemUptimeMs } from '../../agent/time/uptime.ts'
import { createClockTrust } from '../../agent/time/watch.ts'
import type { ClockTrustWatch } from '../../agent/time/watch.ts'
import { startCloud } from '../cloud/cloud.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { createJournal } from '../kit/journal.ts'
import type { Journal } from '../kit/journal.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

test('DPS and hub tell their time over HTTPS to a device that shows no credential', async () => {
  await using cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  const ca = await readFile(cloud.caFile, 'utf8')
  for (const { host } of [cloud.dps, cloud.hub]) {
    const measured = await measureSkew({ host, port: cloud.httpsPort, ca }, systemClock, AbortSignal.timeout(20_000))
    assert.equal(measured.found, 'time')
    assert.equal(measured.verified, true)
    assert.ok(Math.abs(measured.skewMs) < 5_000, `${measured.skewMs}`)
  }
})

/** Everything real but the time of day: a machine without NTP whose clock is `aheadMs` off. */
async function watchOn(cloud: Cloud, folder: string, aheadMs: number): Promise<[ClockTrustWatch, Journal]> {
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + aheadMs }
  const ca = await readFile(cloud.caFile, 'utf8')
  const server = { host: cloud.dps.host, port: cloud.httpsPort, ca }
  const journal = createJournal()
  const log = createLog({ level: 'debug', clock, write: journal.write })
  const watch = createClockTrust({
    ...{ clock, log, uptimeMs: systemUptimeMs, random: () => 0, buildMs: builtAtMs, vaultMs: () => undefined },
    good: await openGoodTime({ path: join(folder, 'clock'), clock, buildMs: builtAtMs, log }),
    synchronisation: createSynchronisation({ clock, flagFile: join(folder, 'none'), program: join(folder, 'none') }),
    measure: (signal) => measureSkew(server, clock, signal),
  })
  return [watch, journal]
}

test('a device without NTP asks DPS for its time, trusts its clock and keeps the time over a restart', async (t) => {
  await using cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  await using folder = await makeTemporaryFolder()
  const stop = new AbortController()
  t.after(() => stop.abort(new Error('the test is over')))
  const [watch, journal] = await watchOn(cloud, folder.path, 0)
  const running = assert.rejects(watch.run(stop.signal), /the test is over/)
  await journal.heard('the clock is trusted')
  assert.equal(watch.current().trust, 'trusted')
  await watch.proven()
  stop.abort(new Error('the test is over'))
  await running

  const [again, said] = await watchOn(cloud, folder.path, -3_600_000)
  assert.equal(again.current().trust, 'wrong')
  assert.match(again.current().reason, /before a time that was trusted already/)
  await said.heard('CLOCK_UNTRUSTED')
})

test('a device that is two hours ahead hears it from DPS', async (t) => {
  await using cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  await using folder = await makeTemporaryFolder()
  const stop = new AbortController()
  t.after(() => stop.abort(new Error('the test is over')))
  const [watch, journal] = await watchOn(cloud, folder.path, 7_200_000)
  const running = assert.rejects(watch.run(stop.signal), /the test is over/)
  await journal.heard('CLOCK_UNTRUSTED')
  const { trust, skewMs = 0 } = watch.current()
  assert.equal(trust, 'wrong')
  assert.ok(Math.abs(skewMs + 7_200_000) < 5_000, `${skewMs}`)
  stop.abort(new Error('the test is over'))
  await running
})
