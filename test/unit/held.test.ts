import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { askControl } from '../../agent/control/client.ts'
import { Failure } from '../../agent/failure.ts'
import { held } from '../../agent/held.ts'
import type { Outcome } from '../../agent/held.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { createLog } from '../../agent/system/log.ts'
import type { Notify } from '../../agent/system/notify.ts'
import { createFakeClock } from '../kit/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

const changed = new Failure('MACHINE_CHANGED', 'made on board A, this is board B')

/** What systemd would have been told, in order. */
function listen(): { readonly told: string[]; readonly notify: Notify } {
  const told: string[] = []
  const say = (word: string) => (text?: string) => {
    told.push(text === undefined ? word : `${word} ${text}`)
    return Promise.resolve()
  }
  const notify: Notify = {
    ...{ ready: say('ready'), status: say('status'), stopping: say('stopping'), reloading: say('reloading') },
    async feedWatchdog(alive, signal) {
      told.push(`watchdog ${alive()}`)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      told.push('watchdog over')
    },
  }
  return { told, notify }
}

/** Whatever still waits at the end of the block is told to stop. */
async function makeWorld() {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock()
  const logged: string[] = []
  const log = createLog({ level: 'info', clock, write: (line) => logged.push(line) })
  const socket = join(folder.path, 'control.sock')
  const ask = (what: string) => askControl({ ask: what }, { path: socket, clock: systemClock })
  const stop = new AbortController()
  return {
    ...{ clock, log, logged, socket, ask, stop, signal: stop.signal, ...listen() },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the test is over'))
      await folder[Symbol.asyncDispose]()
    },
  }
}

test('what is there at once is not waited for, and nobody is told', async () => {
  await using world = await makeWorld()
  const value = await held(() => Promise.resolve({ value: 7 }), world, world.signal)
  assert.equal(value, 7)
  assert.deepEqual(world.told, [])
})

test('while it waits, whoever asks is told what for; it looks again by itself, and lets go of the socket', async () => {
  await using world = await makeWorld()
  let outcome: Outcome<string> = { failure: changed }
  const waiting = held(() => Promise.resolve(outcome), world, world.signal)
  await world.clock.waiting()
  for (const what of ['status', 'outbox', 'x509']) {
    const answer = await world.ask(what)
    assert.equal(answer.ok, false)
    assert.ok(!answer.ok && answer.code === 'MACHINE_CHANGED' && answer.message === changed.message)
  }
  assert.deepEqual(world.told, ['watchdog true', `ready ${changed.message}`])
  outcome = { value: 'ours' }
  await world.clock.advance(5_000)
  assert.equal(await waiting, 'ours')
  assert.equal(world.told.at(-1), 'watchdog over')
  await assert.rejects(world.ask('status'), { code: 'AGENT_NOT_RUNNING' })
})

test('a reload makes it look at once, and another reason is told', async () => {
  await using world = await makeWorld()
  const board = new Failure('MACHINE_CHANGED', 'board C')
  const outcomes: Outcome<string>[] = [{ failure: changed }, { failure: changed }, { failure: board }]
  const waiting = held(() => Promise.resolve(outcomes.shift() ?? { value: 'ours' }), world, world.signal)
  await world.clock.waiting()
  const same = await world.ask('reload')
  assert.ok(!same.ok && same.message === changed.message)
  await world.clock.waiting()
  const refused = await world.ask('reload')
  assert.ok(!refused.ok && refused.message === 'board C')
  await world.clock.waiting()
  assert.equal(world.told.at(-1), 'status board C')
  // Another look that finds the same is not worth a line.
  assert.equal(world.logged.length, 2)
  const answer = await world.ask('reload')
  assert.ok(answer.ok)
  assert.deepEqual(answer.value, { taken: [], overruled: [], pending: [], begins: true })
  assert.equal(await waiting, 'ours')
})

test('who asks for a reload while it looks is answered by a look that begins after that', async () => {
  await using world = await makeWorld()
  const [second, third] = [Promise.withResolvers<Outcome<string>>(), Promise.withResolvers<Outcome<string>>()]
  const looks = [Promise.resolve<Outcome<string>>({ failure: changed }), second.promise, third.promise]
  const begun = Promise.withResolvers<void>()
  const look = () => {
    if (looks.length === 2) begun.resolve()
    return looks.shift() ?? Promise.reject(new Error('one look too many'))
  }
  const waiting = held(look, world, world.signal)
  await world.clock.waiting()
  await world.clock.advance(5_000)
  await begun.promise
  const asked = world.ask('reload')
  // The answer to who came later: the one who came before has been heard by then.
  await world.ask('status')
  second.resolve({ failure: changed })
  third.resolve({ value: 'ours' })
  assert.equal(await waiting, 'ours')
  assert.ok((await asked).ok)
})

test('a look that never ends does not feed the watchdog', async () => {
  await using world = await makeWorld()
  const last = Promise.withResolvers<Outcome<string>>()
  const looks = [Promise.resolve<Outcome<string>>({ failure: changed }), last.promise]
  let isAlive: (() => boolean) | undefined
  const notify: Notify = {
    ...world.notify,
    feedWatchdog(alive, signal) {
      isAlive = alive
      return world.notify.feedWatchdog(alive, signal)
    },
  }
  const look = () => looks.shift() ?? Promise.reject(new Error('one look too many'))
  const waiting = held(look, { ...world, notify }, world.signal)
  await world.clock.waiting()
  await world.clock.advance(5_000)
  assert.equal(isAlive?.(), true)
  await world.clock.advance(60_000)
  assert.equal(isAlive?.(), false)
  last.resolve({ value: 'ours' })
  assert.equal(await waiting, 'ours')
})

test('a signal ends the waiting', async () => {
  await using world = await makeWorld()
  const waiting = held(() => Promise.resolve({ failure: changed }), world, world.signal)
  await world.clock.waiting()
  world.stop.abort(new Error('stopped by SIGTERM'))
  await assert.rejects(waiting, /stopped by SIGTERM/)
})
