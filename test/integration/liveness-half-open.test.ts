/**
 * How soon the agent notices that nobody is there, and how soon it is back. Real time, because the keep-alive is a timer
 * of the MQTT client; each test waits for what happens and measures it.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { calm, cutOff } from './agent-kit.ts'
import { longestPauseMs, RESUME_MS, startFarDevice } from './liveness-kit.ts'

const KEEP_ALIVE_SECONDS = 30
const toml = `hub.keepAliveSeconds = ${KEEP_ALIVE_SECONDS}\n`

/** What is promised for every configuration. */
const NOTICED_MS = 90_000

/** What docs/configuration.md says of this key, and the time that a busy machine may add. */
const NOTICED_BY_KEEP_ALIVE_MS = 2 * KEEP_ALIVE_SECONDS * 1000 + 5_000

/** An attempt has 30 s for DNS, TCP, TLS and CONNACK; the rest is for a busy machine. */
const ATTEMPT_MS = 30_000 + 5_000

suite('liveness', { concurrency: true }, () => {
  test('a connection that is dead without a sign is noticed within twice the keep-alive', async (t) => {
    await using far = await startFarDevice('half-open-1', toml)
    const since = far.cloud.record.seq()
    const deadMs = performance.now()
    far.cable.become('dead')
    const noticed = await far.nextFailure(NOTICED_MS)
    const tookMs = performance.now() - deadMs
    far.cable.become('good')
    const resumedMs = await far.nextMessage(performance.now())
    t.diagnostic(`noticed after ${Math.round(tookMs)} ms, resumed after ${Math.round(resumedMs)} ms`)
    assert.ok(tookMs <= Math.min(NOTICED_MS, NOTICED_BY_KEEP_ALIVE_MS), `noticed after ${tookMs} ms`)
    assert.equal(noticed['code'], 'HUB_NO_ANSWER')
    assert.ok(resumedMs <= RESUME_MS + longestPauseMs([noticed]), `back after ${resumedMs} ms`)
    const registered = far.cloud.record.events(since).filter(({ kind }) => kind === 'registered')
    assert.deepEqual(registered, [], 'DPS has nothing to do with it')
  })

  test('when nobody listens at the hub for a while, the agent is back soon after it listens again', async (t) => {
    await using far = await startFarDevice('half-open-2', toml)
    await far.cable.unplug()
    const failures = [await far.nextFailure(), await far.nextFailure(), await far.nextFailure()]
    assert.deepEqual(
      failures.slice(1).map((line) => line['code']),
      ['NETWORK_REFUSED', 'NETWORK_REFUSED'],
    )
    await far.cable.plugIn()
    const resumedMs = await far.nextMessage(performance.now())
    const boundMs = RESUME_MS + longestPauseMs(failures)
    t.diagnostic(`resumed after ${Math.round(resumedMs)} ms; the bound is ${boundMs} ms`)
    assert.ok(resumedMs <= boundMs, `back after ${resumedMs} ms, the bound is ${boundMs} ms`)
  })

  test('a hub that takes CONNECT and is silent is given up, and used again as soon as it answers', async (t) => {
    await using far = await startFarDevice('half-open-3', toml)
    far.cloud.faults.set('connectSilence', 'hub')
    cutOff(far.cloud, 'half-open-3')
    const ended = await far.nextFailure()
    const silentMs = performance.now()
    const unanswered = await far.nextFailure(longestPauseMs([ended]) + ATTEMPT_MS)
    const tookMs = performance.now() - silentMs
    calm(far.cloud)
    const resumedMs = await far.nextMessage(performance.now())
    t.diagnostic(`given up after ${Math.round(tookMs)} ms, resumed after ${Math.round(resumedMs)} ms`)
    assert.equal(unanswered['code'], 'HUB_NO_ANSWER')
    assert.ok(resumedMs <= RESUME_MS + longestPauseMs([ended, unanswered]), `back after ${resumedMs} ms`)
  })
})
