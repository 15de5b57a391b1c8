/**
 * Renewal over the hub, situation by situation, as the device meets them on a real session: the numbers in brackets are those
 * of the scenario log of the C# preview, which has none for 013.
 */
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import type { CredentialAnswer } from '../../agent/hub/credential-transport.ts'
import type { Session } from '../../agent/hub/session.ts'
import { Failure } from '../../agent/failure.ts'
import { readAnswer } from '../../agent/issue/hub/answer.ts'
import { decide } from '../../agent/issue/hub/decide.ts'
import type { Next } from '../../agent/issue/hub/decide.ts'
import { createHubIssuer } from '../../agent/issue/hub/issuer.ts'
import type { CredentialLine } from '../../agent/issue/hub/line.ts'
import { openRequestNote } from '../../agent/issue/hub/note.ts'
import { createInbox } from '../../agent/system/inbox.ts'
import { HUB_PREVIEW, makeCsr, makeManaged, POLICY } from '../contract/cloud-certificate-kit.ts'
import type { MadeRequest } from '../contract/cloud-certificate-kit.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually } from '../kit/device.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { startBench } from './session-device.ts'
import type { BareDevice, Bench } from './session-device.ts'

let bench: Bench
let device: BareDevice
let request: MadeRequest

before(async () => {
  bench = await startBench()
  await bench.cloud.namespace.putPolicy(POLICY)
  const fleet = bench.cloud.enrollSasFleet('managed', { credentialPolicyName: POLICY })
  const { credential } = await makeManaged(bench.cloud, fleet, 'edge-1')
  device = bench.deviceWith('edge-1', { lane: 'x509', ...credential })
  request = await makeCsr('/CN=edge-1')
})
after(() => bench.cloud.close())
afterEach(() => bench.calm())

const open = () => device.open({ apiVersion: HUB_PREVIEW })

const armoured = (csr: string) =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${csr.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`

/** Hands in whatever it is given, as no agent would, and judges the answers as the agent does, up to the one that ends it. */
async function judged(body: string, rid = 'f5c1a9e2-0000-4000-8000-000000000001'): Promise<readonly Next[]> {
  await using session = await open()
  const answers = createInbox<CredentialAnswer>()
  const handIn = await session.openCredentials((answer) => answers.put(answer))
  await handIn(rid, body)
  const all: Next[] = []
  for (;;) {
    const answer = await answers.take(AbortSignal.timeout(5_000))
    assert.equal(answer.rid, rid)
    const next = decide(readAnswer(answer), { rid, failed: 0, nowMs: Date.now(), random: () => 0.5 })
    all.push(next)
    if (next.do !== 'listen') return all
  }
}

/** An issuer with a life of its own over the sessions that it is given. */
interface Living extends AsyncDisposable {
  readonly clock: FakeClock
  readonly warned: Failure[]
  readonly rid: () => Promise<string>
  /** The session that is taken when the one before has ended. */
  hand(session: CredentialLine): void
  issue(made: MadeRequest): Promise<string>
}

async function issuing(): Promise<Living> {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock(Date.now())
  const file = join(folder.path, 'hub-request.json')
  const warned: Failure[] = []
  const sessions = createInbox<CredentialLine>()
  let present: CredentialLine | undefined
  const line = async (signal: AbortSignal) => {
    if (present !== undefined) return present
    const session = await sessions.take(signal)
    present = session
    void session.ended.then(() => (present = undefined))
    return session
  }
  const warn = (failure: Failure) => void warned.push(failure)
  const issuer = createHubIssuer({ line, note: openRequestNote(file), clock, random: () => 0.5, warn })
  return {
    ...{ clock, warned },
    rid: async () => (JSON.parse(await readFile(file, 'utf8')) as { rid: string }).rid,
    hand: (session) => sessions.put(session),
    async issue({ csr }) {
      const asked = { registrationId: 'edge-1', csrPem: armoured(csr) }
      const pem = await driven(issuer.issue(asked, AbortSignal.timeout(60_000)), clock)
      await issuer.received(asked, { outcome: 'accepted' })
      await clock.advance(60_000)
      return pem
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

/** Lets the time of the agent pass while nothing else happens. */
async function driven<T>(work: Promise<T>, clock: FakeClock): Promise<T> {
  let isOver = false
  const over = () => (isOver = true)
  work.then(over, over)
  let lastMs = performance.now()
  while (!isOver) {
    await new Promise((resolve) => setImmediate(resolve))
    if (performance.now() - lastMs < 15) continue
    lastMs = performance.now()
    await clock.advance(1_000)
  }
  return work
}

/** Of the first certificate: whose key it is for. */
function leafOf(pem: string): X509Certificate {
  return new X509Certificate(pem)
}

/** Codes that the hub has answered to this request ID, 202 and 200 as 0. */
const answersTo = (rid: string) =>
  bench.cloud.record.events().flatMap((event) => (event.kind === 'credentials' && event.rid === rid ? [event] : []))

const body = (more: object = {}) => JSON.stringify({ id: 'edge-1', csr: request.csr, ...more })

for (const [title, broken, code] of [
  ['[001] an empty body', () => '', 400004],
  ['[002] malformed JSON', () => '{"id":"edge-1","csr":', 400006],
  ['[003] an array in place of an object', () => '["not","an","object"]', 400004],
  ['[004] an empty request', () => body({ csr: '' }), 400004],
  ['[005] a request of more than 8 KB', () => body({ csr: 'A'.repeat(10_240) }), 400004],
  ['[006] a request that is no base64', () => body({ csr: 'not-valid-base64!!@@##' }), 400004],
  ['[007] the ID of another device', () => body({ id: 'wrong-device' }), 400004],
  ['[008] no ID', () => body({ id: '' }), 400004],
  ['[009] a field that the hub does not know', () => body({ unknownField: 'value' }), 400004],
  ['[010] a malformed ID to be replaced', () => body({ replace: '123' }), 400004],
] as const)
  test(`${title} is refused for good: nothing is tried again, and DPS is asked`, async () => {
    const [next, ...others] = await judged(broken())
    assert.ok(next?.do === 'giveUp' && others.length === 0)
    assert.equal(next.failure.code, 'HUB_ISSUES_NOTHING')
    assert.match(next.failure.message, new RegExp(`answered ${code}: `))
  })

test('[011] where nothing is to be replaced, the same request goes again without', async () => {
  const [next] = await judged(body({ replace: 'db8c0f73-ac73-4b90-bba4-8a26ae2fcb27' }))
  assert.ok(next?.do === 'again')
  assert.equal(next.replace, undefined)
  assert.equal(next.anew, undefined)
})

test('[012] what is no PKCS#10 is refused after a 202: it takes another key', async () => {
  const [first, second] = await judged(body({ csr: Buffer.from('no request at all').toString('base64') }))
  assert.equal(first?.do, 'listen')
  assert.ok(second?.do === 'giveUp')
  assert.equal(second.failure.code, 'HUB_CSR_REFUSED')
  assert.match(second.failure.message, /400037: .*CSR did not pass verification/)
})

test('[014] a request without an ID is never handed in; one that is not answered goes again under its own', async () => {
  await using living = await issuing()
  await using session = await open()
  bench.cloud.faults.set('credentialsRefusal', 'silence')
  living.hand(session)
  const pem = await living.issue(request)
  assert.ok(leafOf(pem))
  assert.deepEqual(
    living.warned.map(({ code }) => code),
    ['HUB_ISSUES_LATER'],
  )
  const rids =
    bench.cloud
      .received()
      .toString('latin1')
      .match(/issueCertificate\/\?\$rid=[^{]{36}/g) ?? []
  assert.equal(rids.at(-1), rids.at(-2))
})

test('[015] a single request: 202, then the certificate for its key', async () => {
  await using living = await issuing()
  await using session = await open()
  living.hand(session)
  const leaf = leafOf(await living.issue(request))
  assert.equal(leaf.subject, 'CN=edge-1')
  assert.ok(leaf.checkPrivateKey(createPrivateKey(request.keyPem)))
  assert.equal(living.warned.length, 0)
})

test('[016, 026] nothing goes out before the hub has granted the subscription: one that it refuses leads to DPS', async () => {
  await using living = await issuing()
  await using session = await device.open()
  const before = bench.cloud.received().length
  living.hand(session)
  await assert.rejects(living.issue(request), { code: 'HUB_ISSUES_NOTHING' })
  assert.doesNotMatch(bench.cloud.received().subarray(before).toString('latin1'), /issueCertificate/)
})

/** The hub has accepted a request and keeps it; then the session is lost. */
async function lostAfter202(living: Living): Promise<{ readonly work: Promise<string>; readonly rid: string }> {
  bench.cloud.faults.set('issuance', 'held')
  const session = await open()
  living.hand(session)
  const work = living.issue(request)
  const rid = await until(() => living.rid())
  await until(() => Promise.resolve(answersTo(rid)[0]))
  await session[Symbol.asyncDispose]()
  return { work, rid }
}

test('[017, 018] what was issued while nobody listened comes on the next session, to the same request', async () => {
  await using living = await issuing()
  const { work, rid } = await lostAfter202(living)
  await bench.cloud.hub.finishIssuance('edge-1')
  assert.deepEqual(
    answersTo(rid).map(({ status, isHeard }) => [status, isHeard]),
    [[202, true]],
  )
  await using session = await open()
  living.hand(session)
  assert.ok(leafOf(await work).checkPrivateKey(createPrivateKey(request.keyPem)))
  assert.equal(living.warned.length, 0)
})

test('[019] a session that the hub has kept goes on with the same request', async () => {
  await using living = await issuing()
  const { work, rid } = await lostAfter202(living)
  await using session = await open()
  living.hand(session)
  await until(() => Promise.resolve(answersTo(rid)[1]))
  await bench.cloud.hub.finishIssuance('edge-1')
  assert.ok(leafOf(await work))
  assert.equal(new Set(answersTo(rid).map(({ rid: each }) => each)).size, 1)
})

test('[020, 021] on a session that the hub has forgotten, the subscription comes before the request', async () => {
  await using living = await issuing()
  const { work, rid } = await lostAfter202(living)
  bench.cloud.faults.set('dropSessions', 'true')
  const before = bench.cloud.received().length
  await using session = await open()
  living.hand(session)
  await until(() => Promise.resolve(answersTo(rid)[1]))
  await bench.cloud.hub.finishIssuance('edge-1')
  assert.ok(leafOf(await work))
  const said = bench.cloud.received().subarray(before).toString('latin1')
  const [subscribed, asked] = [said.indexOf('$iothub/credentials/res/#'), said.indexOf('issueCertificate')]
  assert.ok(subscribed > 0 && subscribed < asked)
})

test('[022] one request after the other: each has its own ID and its own certificate', async () => {
  await using living = await issuing()
  await using session = await open()
  living.hand(session)
  const other = await makeCsr('/CN=edge-1')
  const one = leafOf(await living.issue(request))
  const two = leafOf(await living.issue(other))
  assert.ok(one.checkPrivateKey(createPrivateKey(request.keyPem)))
  assert.ok(two.checkPrivateKey(createPrivateKey(other.keyPem)))
})

/** Somebody has asked for this device before, and the hub is still at it. */
async function heldBySomebody(session: Session): Promise<string> {
  bench.cloud.faults.set('issuance', 'held')
  const rid = 'somebody-else-0001'
  const handIn = await session.openCredentials(() => undefined)
  await handIn(rid, body({ csr: (await makeCsr('/CN=edge-1')).csr }))
  await until(() => Promise.resolve(answersTo(rid)[0]))
  bench.cloud.faults.set('issuance', 'prompt')
  return rid
}

test('[023, 024, 025] a request that meets another one is refused with 409, and replaces that by its ID', async () => {
  await using living = await issuing()
  await using session = await open()
  const rid = await heldBySomebody(session)
  living.hand(session)
  assert.ok(leafOf(await living.issue(request)).checkPrivateKey(createPrivateKey(request.keyPem)))
  assert.deepEqual(
    living.warned.map(({ code, message }) => [code, message.slice(0, 23)]),
    [['HUB_ISSUES_LATER', 'the hub answered 409004']],
  )
  assert.ok(bench.cloud.received().includes(`"replace":"${rid}"`))
})

test('[025] where the hub does not say what is in the way, all of it is replaced', () => {
  const answer = { status: 409, rid: 'mine', text: '{"errorCode":409005,"message":"busy","info":null}' }
  const next = decide(readAnswer(answer), { rid: 'mine', failed: 0, nowMs: 0, random: () => 0.5 })
  assert.ok(next.do === 'again')
  assert.equal(next.replace, '*')
})

test('a conflict with itself is waited for, and not replaced', async () => {
  await using living = await issuing()
  const { work } = await lostAfter202(living)
  bench.cloud.faults.set('credentialsDuplicate', 'conflict')
  await using session = await open()
  living.hand(session)
  await until(async () => answersTo(await living.rid())[1])
  await bench.cloud.hub.finishIssuance('edge-1')
  assert.ok(leafOf(await work))
  assert.equal(living.warned.length, 0)
})

test('an operation that expires at the hub is begun anew under another ID', async () => {
  await using living = await issuing()
  bench.cloud.faults.set('operationExpiresSeconds', 90)
  bench.cloud.faults.set('issuance', 'held')
  await using session = await open()
  living.hand(session)
  const work = living.issue(request)
  const first = await until(() => living.rid())
  const second = await until(async () => {
    const rid = await living.rid()
    return rid === first ? undefined : rid
  })
  // By then the first one still holds the place: the stand-in's clock is the true one.
  await until(() => Promise.resolve(answersTo(second).find(({ status }) => status === 202)))
  await bench.cloud.hub.finishIssuance('edge-1')
  assert.ok(leafOf(await work))
  assert.ok(living.warned.some(({ message }) => message === 'the operation has expired'))
})

test('a session that lives and grants no subscription is not asked for ever: after eight tries DPS is', async () => {
  await using living = await issuing()
  const grudging = {
    deviceId: 'edge-1',
    ended: new Promise<never>(() => undefined),
    openCredentials: () => Promise.reject(new Failure('HUB_NO_ANSWER', 'no SUBACK in time')),
  }
  living.hand(grudging)
  await assert.rejects(living.issue(request), { code: 'HUB_ISSUES_NOTHING' })
  assert.equal(living.warned.length, 7)
})

function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  return eventually(() => ask().catch(() => undefined))
}
