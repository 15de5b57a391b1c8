import assert from 'node:assert/strict'
import test, { after } from 'node:test'
import { obtainCertificate } from '../../../agent/credential/obtain.ts'
import type { ChainSource, ObtainEvent, Reception } from '../../../agent/credential/obtain.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import type { Vault } from '../../../agent/credential/vault.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, wanted } from './fixture.ts'

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

async function setUp(folder: string) {
  const clock = createFakeClock(Date.now())
  const events: ObtainEvent[] = []
  const vault = await openVault(folder, clock)
  const request = await vault.request(wanted)
  return { clock, vault, request, events, report: (event: ObtainEvent) => void events.push(event) }
}

test('a good chain becomes the active credential', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const { source, receptions } = sourceOf(() => issuer.chainFor(device.request))
  const credential = await obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  assert.deepEqual(await device.vault.active(), credential)
  assert.deepEqual(receptions, [{ accepted: true }])
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
  const codes = receptions.map((each) => (each.accepted ? 'accepted' : each.problems.map((problem) => problem.code)))
  assert.deepEqual(codes, [['CHAIN_KEY_MISMATCH'], ['CHAIN_UNREADABLE'], 'accepted'])
  assert.deepEqual(
    device.events.map((event) => event.kind),
    ['awaiting', 'refused', 'refused', 'accepted'],
  )
})

test('a chain that is only not valid yet is not thrown away: it is looked at again when the clock has moved', async () => {
  await using folder = await makeTemporaryFolder()
  const device = await setUp(folder.path)
  const chain = await issuer.chainFor(device.request)
  device.clock.stepWall(-24 * 3_600_000)
  const { source, receptions } = sourceOf(
    () => Promise.resolve(chain),
    () => Promise.resolve(chain),
  )
  const obtained = obtainCertificate(wanted, { ...device, source }, AbortSignal.timeout(30_000))
  await device.clock.waiting(60_000)
  assert.deepEqual(receptions, [])
  device.clock.stepWall(24 * 3_600_000)
  await device.clock.advance(60_000)
  assert.equal((await obtained).generation, 'gen-0001')
  assert.deepEqual(
    device.events.map((event) => event.kind),
    ['awaiting', 'tooEarly', 'accepted'],
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
