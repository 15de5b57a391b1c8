import assert from 'node:assert/strict'
import test, { after } from 'node:test'
import { obtainCertificate } from '../../../agent/credential/obtain.ts'
import type { ChainSource, ObtainEvent } from '../../../agent/credential/obtain.ts'
import type { Vault } from '../../../agent/credential/vault.ts'
import type { Reception } from '../../../agent/pki/exchange.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound, wanted } from './fixture.ts'

const authorities = await makeTemporaryFolder()
after(() => authorities[Symbol.asyncDispose]())
const issuer = await makeTestIssuer(authorities.path)

/** A source that gives these answers in turn. */
function sourceOf(...answers: (() => Promise<string>)[]) {
  const receptions: Reception[] = []
  const source: ChainSource = {
    issue: (_request, signal) => {
      signal.throwIfAborted()
      const answer = answers.shift()
      return answer === undefined ? Promise.reject(new Error('asked too often')) : answer()
    },
    received: (_request, reception) => {
      receptions.push(reception)
      return Promise.resolve()
    },
  }
  return { source, receptions }
}

function codesOf(of: Reception | ObtainEvent): readonly string[] {
  return 'problems' in of ? of.problems.map(({ code }) => code) : []
}

async function setUp(folder: string) {
  const clock = createFakeClock(Date.now())
  const events: ObtainEvent[] = []
  const vault = await openSound(folder, clock)
  const request = await vault.request(wanted)
  return { clock, vault, request, events, report: (event: ObtainEvent) => void events.push(event) }
}

test('a good chain becomes a generation of the vault', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const { source, receptions } = sourceOf(() => issuer.chainFor(device.request))
  const credential = await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  assert.deepEqual(await device.vault.active(), credential)
  assert.deepEqual(receptions, [{ outcome: 'accepted' }])
  assert.deepEqual(
    device.events.map((event) => event.kind),
    ['awaiting', 'accepted'],
  )
})

test('the chain of another key is refused and reported, and waiting goes on', async () => {
  await using folder = await makeTemporaryFolder()
  await using other = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const stranger = await setUp(other.path)
  const { source, receptions } = sourceOf(
    () => issuer.chainFor(stranger.request),
    () => Promise.resolve('junk'),
    () => issuer.chainFor(device.request),
  )
  const credential = await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  assert.equal(credential.generation, 'gen-0001')
  const codes = receptions.map((each) => [each.outcome, ...codesOf(each)])
  assert.deepEqual(codes, [['refused', 'CHAIN_KEY_MISMATCH'], ['refused', 'CHAIN_UNREADABLE'], ['accepted']])
  assert.deepEqual(
    device.events.map((event) => event.kind),
    ['awaiting', 'refused', 'refused', 'accepted'],
  )
})

const DAY_MS = 86_400_000

for (const [how, aheadMs, code] of [
  ['not valid yet', -DAY_MS, 'CHAIN_NOT_YET_VALID'],
  ['not valid any more', 400 * DAY_MS, 'CHAIN_EXPIRED'],
] as const) {
  test(`a chain that is only ${how} is not thrown away, is told of once, and taken once the clock is right`, async () => {
    await using folder = await makeTemporaryFolder()
    const device = await setUp(folder.path)
    const chain = await issuer.chainFor(device.request)
    const atWrongTime = () => Promise.resolve(chain)
    device.clock.stepWall(aheadMs)
    const { source, receptions } = sourceOf(atWrongTime, atWrongTime, atWrongTime, () => {
      device.clock.stepWall(-aheadMs)
      return Promise.resolve(chain)
    })
    const credential = await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
    assert.equal(credential.generation, 'gen-0001')
    const postponed = ['postponed', code]
    assert.deepEqual(
      receptions.map((each) => [each.outcome, ...new Set(codesOf(each))]),
      [postponed, postponed, postponed, ['accepted']],
    )
    assert.deepEqual(
      device.events.map((event) => event.kind),
      ['awaiting', 'postponed', 'accepted'],
    )
  })
}

test('a postponed chain is told of again when it is another one, or has become wrong in another way', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const [one, other, last] = await Promise.all([0, 1, 2].map(() => issuer.chainFor(device.request)))
  const given = [one, one, other, other, one, last].map((pem) => () => Promise.resolve(pem ?? ''))
  device.clock.stepWall(400 * DAY_MS)
  const back = given.pop()
  const { source } = sourceOf(
    ...given,
    () => {
      device.clock.stepWall(-800 * DAY_MS)
      return Promise.resolve(one ?? '')
    },
    () => {
      device.clock.stepWall(400 * DAY_MS)
      return back?.() ?? Promise.resolve('')
    },
  )
  await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  assert.deepEqual(
    device.events.flatMap((event) => (event.kind === 'postponed' ? [...new Set(codesOf(event))] : [])),
    ['CHAIN_EXPIRED', 'CHAIN_EXPIRED', 'CHAIN_EXPIRED', 'CHAIN_NOT_YET_VALID'],
  )
})

test('a chain with expired dates and another fault beside is refused: no clock can mend that', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const dates = { notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') }
  const { source, receptions } = sourceOf(
    () => issuer.chainFor(device.request, { ...dates, subject: '/CN=other' }),
    () => issuer.chainFor(device.request),
  )
  await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  assert.deepEqual(
    receptions.map((each) => each.outcome),
    ['refused', 'accepted'],
  )
})

test('the source is told of an acceptance only when the vault has it', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const vault: Vault = { ...device.vault, accept: () => Promise.reject(new Error('disk full')) }
  const { source, receptions } = sourceOf(() => issuer.chainFor(device.request))
  await assert.rejects(
    obtainCertificate(wanted, { ...device, vault, source }, AbortSignal.timeout(30_000)),
    /disk full/,
  )
  assert.deepEqual(receptions, [])
  assert.notEqual(await device.vault.pending(), undefined)
})

test('an abort ends the waiting and leaves the request where it is', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const { source } = sourceOf()
  const reason = new Error('stopping')
  await assert.rejects(obtainCertificate(wanted, { ...device, source }, AbortSignal.abort(reason)), reason)
  assert.equal((await device.vault.pending())?.csrPem, device.request.csrPem)
})
