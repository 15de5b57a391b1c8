import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { AnswerMethod } from '../../agent/hub/session.ts'
import { createFakeClock } from '../kit/clock.ts'
import { putDirectIdentity, sas } from './sas-device.ts'
import { startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

let bench: Bench
let device: Device

before(async () => {
  bench = await startBench()
  device = await bench.device('edge-1')
  await device.register()
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

/** Calls a method as the service does. */
const invoke = (name: string, payload?: unknown) =>
  bench.cloud.hub.invokeMethod('edge-1', { name, payload, responseTimeoutSeconds: 30 })

const echo: AnswerMethod = ({ name, payload }) =>
  Promise.resolve({ status: 200, body: { name, payload: payload ?? 'none' } })

test('a call reaches whoever answers, with its payload or without, and the caller gets status and body', async () => {
  await using session = await device.open()
  await session.serveMethods(echo)
  assert.deepEqual(await invoke('setAuthMode', { mode: 'ü' }), {
    status: 200,
    payload: { name: 'setAuthMode', payload: { mode: 'ü' } },
  })
  assert.deepEqual((await invoke('ping')).payload, { name: 'ping', payload: 'none' })
  assert.deepEqual((await invoke('a b/c%', [1])).payload, { name: 'a b/c%', payload: [1] })
})

test('the status is the one that was answered', async () => {
  await using session = await device.open()
  await session.serveMethods(() => Promise.resolve({ status: 409, body: { code: 'AUTH_BUSY' } }))
  assert.deepEqual(await invoke('reprovision'), { status: 409, payload: { code: 'AUTH_BUSY' } })
})

test('a device that serves no methods is not there for the caller, and goes on', async () => {
  const quiet = await bench.device('edge-quiet')
  await quiet.register()
  await using session = await quiet.open()
  const call = { name: 'ping', payload: {}, responseTimeoutSeconds: 30 }
  await assert.rejects(bench.cloud.hub.invokeMethod('edge-quiet', call), { code: 404103 })
  await session.readTwin()
})

test('twin, telemetry and methods go on beside each other', async () => {
  await using session = await device.open()
  await session.readTwin()
  await session.serveMethods(echo)
  const message = { body: '{}', messageId: 'm', contentType: 'application/json', contentEncoding: 'utf-8' } as const
  const [answer] = await Promise.all([invoke('ping'), session.report({ a: 1 }), session.send(message)])
  assert.equal(answer.status, 200)
})

test('a call that arrives with the connection, because the hub kept the subscription, is answered', async () => {
  {
    await using first = await device.open()
    await first.serveMethods(echo)
  }
  await using session = await device.open()
  const called = invoke('ping')
  await session.serveMethods(echo)
  assert.equal((await called).status, 200)
})

test('a method that is not done after 25 s is answered 504, and keeps its place until it is', async () => {
  const clock = createFakeClock()
  await using session = await device.open({ clock })
  const slow = Promise.withResolvers<void>()
  let begun = 0
  await session.serveMethods(async ({ name }) => {
    if (name === 'slow') {
      begun += 1
      await slow.promise
    }
    return { status: 200, body: {} }
  })
  const calls = Promise.all(Array.from({ length: 4 }, () => invoke('slow')))
  while (begun < 4) await new Promise((resolve) => setImmediate(resolve))
  await clock.advance(25_000)
  const answers = await calls
  for (const { status, payload } of answers) {
    assert.equal(status, 504)
    assert.equal((payload as { code: string }).code, 'METHOD_LATE')
  }
  assert.equal((await invoke('fast')).status, 429)
  slow.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await invoke('fast')).status, 200)
})

test('a call that is worked on when the connection ends is answered to nobody, and disturbs nothing', async () => {
  const slow = Promise.withResolvers<void>()
  const troubles: unknown[] = []
  const session = await device.open({ onTrouble: (failure) => troubles.push(failure) })
  const began = Promise.withResolvers<void>()
  await session.serveMethods(async () => {
    began.resolve()
    await slow.promise
    throw new Error('too late')
  })
  const lost = assert.rejects(invoke('slow'), { code: 404104 })
  await began.promise
  await session[Symbol.asyncDispose]()
  await lost
  slow.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(troubles, [])
})

test('a session that ends for a new token lets the method finish that is being worked on', async () => {
  const { primaryKey } = putDirectIdentity(bench, 'edge-sas')
  const clock = createFakeClock(Date.now())
  await using session = await bench.deviceWith('edge-sas', sas(primaryKey)).open({ clock, random: () => 0 })
  const slow = Promise.withResolvers<void>()
  const began = Promise.withResolvers<void>()
  await session.serveMethods(async () => {
    began.resolve()
    await slow.promise
    return { status: 200, body: {} }
  })
  await clock.advance(45 * 60_000 - 1_000)
  const called = bench.cloud.hub.invokeMethod('edge-sas', { name: 'x', payload: {}, responseTimeoutSeconds: 30 })
  await began.promise
  await clock.advance(1_000)
  slow.resolve()
  assert.equal((await called).status, 200)
  assert.equal((await session.ended).code, 'SESSION_RENEWED')
})
