import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { createFolderIssuer } from '../../agent/issue/folder.ts'
import type { Issuer } from '../../agent/issue/port.ts'
import { writeDurably } from '../../agent/system/files.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { createMemoryIssuer } from './memory-issuer.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

/** One issuer and the hands of its operator. */
interface Bench extends AsyncDisposable {
  readonly issuer: Issuer
  readonly clock: FakeClock
  /** Gives a chain for a registration ID. */
  offer(registrationId: string, pem: string): Promise<void>
}

const request = { registrationId: 'edge-0042', csrPem: '-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END…\n' }
const chain = (name: string) => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`
const refused = { outcome: 'refused', problems: [{ code: 'CHAIN_KEY_MISMATCH', message: 'another key' }] } as const
const postponed = { outcome: 'postponed', problems: [{ code: 'CHAIN_EXPIRED', message: 'too old' }] } as const
const within = () => AbortSignal.timeout(20_000)

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  memory: () => {
    const clock = createFakeClock()
    const issuer = createMemoryIssuer(clock)
    return Promise.resolve({
      ...issuer,
      issuer,
      clock,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    })
  },
  folder: async () => {
    const folder = await makeTemporaryFolder()
    const clock = createFakeClock()
    const [requestsDir, issuedDir] = [join(folder.path, 'requests'), join(folder.path, 'issued')]
    const issuer = createFolderIssuer({ requestsDir, issuedDir, clock, warn: (failure) => assert.fail(failure) })
    return {
      issuer,
      clock,
      async offer(registrationId, pem) {
        await mkdir(issuedDir, { recursive: true })
        await writeDurably(join(issuedDir, `${registrationId}.pem`), pem)
      },
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    }
  },
}

/** Lets the fake clock run on whenever somebody waits, until the work is done. */
async function whileTimePasses<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  const done = work.then(
    () => true,
    () => true,
  )
  while (!(await Promise.race([done, clock.waiting().then(() => false)]))) await clock.advance(500)
  return work
}

for (const [name, makeBench] of Object.entries(benches)) {
  test(`${name}: a chain that is there already is given`, async () => {
    await using bench = await makeBench()
    await bench.offer('edge-0042', chain('one'))
    assert.equal(await whileTimePasses(bench.clock, bench.issuer.issue(request, within())), chain('one'))
  })

  test(`${name}: a chain that comes later is given, and only the one for this device`, async () => {
    await using bench = await makeBench()
    const issued = bench.issuer.issue(request, within())
    await bench.offer('edge-0043', chain('other'))
    await bench.offer('edge-0042', chain('mine'))
    assert.equal(await whileTimePasses(bench.clock, issued), chain('mine'))
  })

  test(`${name}: a refused chain is not given again, the next one is`, async () => {
    await using bench = await makeBench()
    await bench.offer('edge-0042', chain('wrong'))
    assert.equal(await whileTimePasses(bench.clock, bench.issuer.issue(request, within())), chain('wrong'))
    await bench.issuer.received(request, refused)
    const issued = bench.issuer.issue(request, within())
    await bench.offer('edge-0042', chain('right'))
    assert.equal(await whileTimePasses(bench.clock, issued), chain('right'))
  })

  test(`${name}: a postponed chain is given again in a minute, and another one before that`, async () => {
    await using bench = await makeBench()
    await bench.offer('edge-0042', chain('early'))
    await whileTimePasses(bench.clock, bench.issuer.issue(request, within()))
    await bench.issuer.received(request, postponed)
    const since = bench.clock.monotonicMs()
    assert.equal(await whileTimePasses(bench.clock, bench.issuer.issue(request, within())), chain('early'))
    const waitedMs = bench.clock.monotonicMs() - since
    assert.ok(waitedMs >= 60_000 && waitedMs <= 120_000, `${waitedMs} ms`)
    await bench.issuer.received(request, postponed)
    await bench.offer('edge-0042', chain('other'))
    assert.equal(await whileTimePasses(bench.clock, bench.issuer.issue(request, within())), chain('other'))
    assert.ok(bench.clock.monotonicMs() - since - waitedMs < 60_000)
  })

  test(`${name}: a chain that nobody judged is given again`, async () => {
    await using bench = await makeBench()
    await bench.offer('edge-0042', chain('one'))
    await whileTimePasses(bench.clock, bench.issuer.issue(request, within()))
    assert.equal(await whileTimePasses(bench.clock, bench.issuer.issue(request, within())), chain('one'))
  })

  test(`${name}: an accepted chain is not given to the next request`, async () => {
    await using bench = await makeBench()
    await bench.offer('edge-0042', chain('first'))
    await whileTimePasses(bench.clock, bench.issuer.issue(request, within()))
    await bench.issuer.received(request, { outcome: 'accepted' })
    const issued = bench.issuer.issue({ ...request, csrPem: 'next' }, within())
    await bench.offer('edge-0042', chain('second'))
    assert.equal(await whileTimePasses(bench.clock, issued), chain('second'))
  })

  test(`${name}: an abort ends the waiting with its reason`, async () => {
    await using bench = await makeBench()
    const reason = new Error('stopping')
    await assert.rejects(bench.issuer.issue(request, AbortSignal.abort(reason)), reason)
    const stop = new AbortController()
    const issued = bench.issuer.issue(request, stop.signal)
    stop.abort(reason)
    await assert.rejects(issued, reason)
  })
}
