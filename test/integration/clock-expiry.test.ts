/** Certificates that come to their end: before a start, during a session, and by what anybody on the way may say. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { CLOUD_ADDRESS, layRoad } from '../kit/road.ts'
import type { Road } from '../kit/road.ts'
import { atHub, calm, cutOff, eventsOf } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { DAY, FALLBACK, HOUR, MINUTE, mark, pass, policyToml, refusalsOf, sessionsOf, stampsOf, untilSession } = kit

let stage: Stage
let road: Road

before(async () => {
  road = await layRoad()
  stage = await kit.startStage({ address: CLOUD_ADDRESS, port: road.port })
})
after(async () => {
  await stage[Symbol.asyncDispose]()
  await road[Symbol.asyncDispose]()
})
afterEach(() => {
  road.attacks.clear()
  road.ambush = undefined
  calm(stage.cloud)
  kit.restore({ stage })
})

const noFallback = policyToml({ ...FALLBACK, enabled: 'false' })

/** Dates of a certificate that has a while behind it and so long ahead, by the time of the cloud. */
const endingIn = (ms: number) => ({
  notBefore: new Date(stage.time.now() - 30 * DAY),
  notAfter: new Date(stage.time.now() + ms),
})

const warningsOf = (actor: Actor) => kit.twinOf(actor).warnings?.map(({ code }) => code) ?? []

test('a certificate that has expired before a start is tried, and refused; a new one is asked for and takes over', async () => {
  await using actor = await kit.makeActor(stage, 'expired-01', { toml: noFallback, certificates: [endingIn(-DAY)] })
  const since = mark(actor)
  actor.boot()
  await actor.agent().journal.heard('waiting for a certificate')
  await pass(actor, 6 * HOUR)
  const tries = refusalsOf(actor, since)
  assert.ok(tries.length >= 10 && tries.every(({ reason }) => reason.includes('expired')), tries[0]?.reason)
  assert.deepEqual(sessionsOf(actor, since), [])
  const { auth, warnings } = await actor.agent().status()
  assert.equal(auth.state, 'awaitingCertificate')
  assert.ok(warnings.some(({ code }) => code === 'CERTIFICATE_EXPIRED'))
  await kit.install(actor, endingIn(90 * DAY))
  await untilSession(actor, 'x509', since)
  const { lastAttempt } = await kit.reported(actor, ({ history }) => history.length > 0)
  assert.deepEqual([lastAttempt?.cause, lastAttempt?.result], ['expiry', 'active'])
})

test('a device whose certificate has expired falls back where policy allows it, and returns with a new one', async () => {
  await using actor = await kit.makeActor(stage, 'expired-02', { certificates: [endingIn(-DAY)] })
  const since = mark(actor)
  actor.boot()
  await untilSession(actor, 'sas', since)
  const refused = refusalsOf(actor, since)
  assert.ok((refused.at(-1)?.at ?? 0) - (refused[0]?.at ?? 0) >= 10 * MINUTE)
  await pass(actor, HOUR + 5 * MINUTE)
  assert.equal((await kit.reported(actor, ({ state }) => state === 'awaitingCertificate')).fallback.active, true)
  await kit.install(actor, endingIn(90 * DAY))
  await untilSession(actor, 'x509', since)
  await kit.reported(actor, ({ fallback }) => !fallback.active)
})

test('a certificate that ends during a session leaves the session alone, and the next one is asked for at once', async () => {
  // Renewals are off: what is here would otherwise have been renewed long before its end.
  const toml = `${policyToml()}[auth.renewal]\nenabled = false\n`
  await using actor = await kit.bootActor(stage, 'expiring-01', { toml, certificates: [endingIn(2 * HOUR)] })
  const since = mark(actor)
  await pass(actor, 2 * HOUR - 5 * MINUTE)
  assert.equal(await actor.device.has(`requests/${actor.id}.csr`), false)
  await pass(actor, 10 * MINUTE, () => kit.twinOf(actor).auth?.state === 'awaitingCertificate')
  await kit.reported(actor, ({ state }) => state === 'awaitingCertificate')
  assert.equal(await actor.device.has(`requests/${actor.id}.csr`), true)
  assert.ok(await pass(actor, 5 * MINUTE, () => warningsOf(actor).includes('CERTIFICATE_EXPIRED')))
  // As has been seen of the real hub: a day and more on a certificate that is over.
  await pass(actor, 27 * HOUR)
  assert.deepEqual(eventsOf(stage.cloud, 'disconnected', actor.id, since).filter(atHub(stage.cloud)), [])
  assert.ok(stampsOf(actor, since).length >= 28)
  await kit.install(actor, endingIn(90 * DAY))
  await untilSession(actor, 'x509', since)
  assert.deepEqual(sessionsOf(actor, since), ['x509'])
  assert.ok(!warningsOf(actor).includes('CERTIFICATE_EXPIRED'))
})

test('an alert against a certificate counts only once its own dates say that it is over', async () => {
  await using good = await kit.bootActor(stage, 'alerted-good')
  await using over = await kit.makeActor(stage, 'alerted-over', { certificates: [endingIn(-DAY)] })
  const since = mark(good)
  // IoT Hub has been seen to say unknown_ca of an expired certificate.
  for (const { id } of [good, over]) road.attacks.set(id, 48)
  cutOff(stage.cloud, good.id)
  over.boot()
  await untilSession(over, 'sas', since)
  assert.equal((await kit.reported(over, ({ fallback }) => fallback.active)).fallback.cause, 'TLS_CREDENTIAL_REFUSED')
  await pass({ stage }, 12 * HOUR)
  assert.deepEqual(sessionsOf(good, since), [])
  assert.deepEqual((await good.agent().status()).auth.history, [])
  assert.ok(road.attacked(good.id) >= 20)
})
