import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import { supervise } from '../../../agent/hub/supervise.ts'
import type { Assigned, LinkState, Supervised, SupervisePorts } from '../../../agent/hub/supervise.ts'
import { createFakeClock } from '../../kit/clock.ts'

const failure = (code: FailureCode) => new Failure(code, 'test')
const HOME: Assigned = { assignedHub: 'hub-1', deviceId: 'edge-1' }
const MOVED: Assigned = { assignedHub: 'hub-2', deviceId: 'edge-1' }

interface FakeSession extends Supervised {
  readonly closed: () => boolean
  end(code: FailureCode): void
}

function fakeSession(): FakeSession {
  const ended = Promise.withResolvers<Failure>()
  let closed = false
  return {
    ended: ended.promise,
    closed: () => closed,
    end: (code) => ended.resolve(failure(code)),
    async [Symbol.asyncDispose]() {
      closed = true
      ended.resolve(failure('SESSION_CLOSED'))
    },
  }
}

type Ports = SupervisePorts<Assigned, FakeSession>

/** Supervision over ports that a test scripts; `log` is what was asked of them. */
function run(scripted: Partial<Ports>) {
  const clock = createFakeClock()
  const stop = new AbortController()
  const log: string[] = []
  const states: LinkState[] = []
  const sessions: FakeSession[] = []
  const troubles: Failure[] = []
  const ports: Ports = {
    clock,
    random: () => 0,
    loadAssignment: async () => HOME,
    saveAssignment: async (assignment) => void log.push(`save ${assignment.assignedHub}`),
    register: async () => MOVED,
    open: async () => fakeSession(),
    onSession: async () => undefined,
    onState: (state) => states.push(state),
    onTrouble: (trouble) => troubles.push(trouble),
    ...scripted,
  }
  const work = supervise<Assigned, FakeSession>(
    {
      ...ports,
      register: (signal) => {
        log.push('register')
        return ports.register(signal)
      },
      open: async (assignment, signal) => {
        log.push(`open ${assignment.assignedHub}`)
        const session = await ports.open(assignment, signal)
        sessions.push(session)
        return session
      },
    },
    stop.signal,
  )
  const finish = async () => {
    stop.abort(new Error('stopping'))
    await clock.advance(0)
    await work
  }
  return { clock, stop, log, states, sessions, troubles, finish }
}

const rejects = (code: FailureCode) => () => Promise.reject(failure(code))

test('the cached assignment is used first, and DPS is not asked', async () => {
  const { clock, log, states, finish } = run({})
  await clock.advance(0)
  assert.deepEqual(log, ['open hub-1'])
  assert.equal(states.at(-1)?.phase, 'connected')
  await finish()
})

test('without an assignment the device registers, keeps the assignment and connects there', async () => {
  const { clock, log, states, finish } = run({ loadAssignment: async () => undefined })
  await clock.advance(0)
  assert.deepEqual(log, ['register', 'save hub-2', 'open hub-2'])
  assert.deepEqual(
    states.map(({ phase }) => phase),
    ['registering', 'connecting', 'connected'],
  )
  await finish()
})

const openOnlyAtTheNewHub = async ({ assignedHub }: Assigned) =>
  assignedHub === 'hub-1' ? Promise.reject(failure('HUB_REFUSED_CREDENTIAL')) : fakeSession()

test('a credential that the hub refuses is registered again and the device follows to its new hub', async () => {
  const { clock, log, finish } = run({ open: openOnlyAtTheNewHub })
  await clock.advance(1_000)
  assert.deepEqual(log, ['open hub-1', 'register', 'save hub-2', 'open hub-2'])
  await finish()
})

test('while waiting the state says why, for what and how long', async () => {
  const { clock, states, finish } = run({ open: rejects('NETWORK_DNS') })
  await clock.advance(0)
  const state = states.at(-1)
  assert.ok(state?.phase === 'waiting')
  assert.equal(state.failure?.code, 'NETWORK_DNS')
  assert.equal(state.next, 'connect')
  assert.equal(state.nextAttemptInMs, 500)
  assert.equal(state.assignedHub, 'hub-1')
  assert.equal(state.attempt, 1)
  await finish()
})

test('a hub and a DPS that are gone for three days are tried again and again, DPS not more than once a minute', async () => {
  const { clock, log, finish } = run({ open: rejects('HUB_CLOSED_EARLY'), register: rejects('DPS_SERVICE_FAULT') })
  const days = 3 * 24 * 60
  await clock.advance(days * 60_000)
  const registrations = log.filter((line) => line === 'register').length
  assert.ok(registrations > 100 && registrations <= days, String(registrations))
  assert.ok(log.filter((line) => line === 'open hub-1').length > 1_000)
  await finish()
})

test('a DPS that refuses for three days is still asked, a few times an hour', async () => {
  const { clock, log, finish } = run({
    loadAssignment: async () => undefined,
    register: rejects('DPS_UNAUTHORIZED'),
    random: () => 0.5,
  })
  await clock.advance(3 * 24 * 3_600_000)
  assert.ok(log.length >= 3 * 24 * 2 && log.length <= 3 * 24 * 6, String(log.length))
  await finish()
})

test('an assignment that cannot be kept is used all the same, and said', async () => {
  const { clock, log, troubles, finish } = run({
    loadAssignment: async () => undefined,
    saveAssignment: rejects('DISK_FULL'),
  })
  await clock.advance(0)
  assert.deepEqual(log, ['register', 'open hub-2'])
  assert.deepEqual(
    troubles.map(({ code }) => code),
    ['DISK_FULL'],
  )
  await finish()
})

test('a session that ends is closed, its work is told, and the next one follows', async () => {
  const told: unknown[] = []
  const onSession = (_session: FakeSession, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => {
        told.push('told')
        resolve()
      })
    })
  const { clock, log, sessions, finish } = run({ onSession })
  await clock.advance(120_000)
  sessions[0]?.end('HUB_CLOSED')
  await clock.advance(0)
  assert.deepEqual(told, ['told'])
  assert.ok(sessions[0]?.closed())
  await clock.advance(1_000)
  assert.deepEqual(log, ['open hub-1', 'open hub-1'])
  await finish()
})

test('a failure of the work closes the session and is the reason of the wait', async () => {
  const { clock, sessions, states, finish } = run({ onSession: rejects('TWIN_REFUSED') })
  await clock.advance(0)
  assert.ok(sessions[0]?.closed())
  const state = states.at(-1)
  assert.ok(state?.phase === 'waiting')
  assert.equal(state.failure?.code, 'TWIN_REFUSED')
  await finish()
})

test('work that does not end when told is left behind after a second, and said', async () => {
  const { clock, sessions, troubles, log, finish } = run({ onSession: () => new Promise(() => undefined) })
  await clock.advance(0)
  sessions[0]?.end('HUB_CLOSED')
  await clock.advance(0)
  assert.deepEqual(troubles, [])
  await clock.advance(1_000)
  assert.equal(troubles.length, 1)
  await clock.advance(1_000)
  assert.equal(log.length, 2)
  const ending = finish()
  await clock.advance(1_000)
  await ending
})

test('two agents with one device ID do not spin: each session that ends within seconds waits longer', async () => {
  const { clock, sessions, log, finish } = run({
    open: async () => {
      const session = fakeSession()
      session.end('HUB_CLOSED')
      return session
    },
    random: () => 0.999_999,
  })
  await clock.advance(5 * 60_000)
  assert.equal(sessions.length, log.length)
  assert.ok(log.length < 10, String(log.length))
  assert.ok(!log.includes('register'))
  await finish()
})

test('a hub that takes the credential and closes for a day leads to DPS, a few times', async () => {
  const { clock, log, finish } = run({
    register: async () => HOME,
    open: async () => {
      const session = fakeSession()
      session.end('HUB_CLOSED')
      return session
    },
    random: () => 0.5,
  })
  await clock.advance(24 * 3_600_000)
  const registrations = log.filter((line) => line === 'register').length
  assert.ok(registrations >= 3 && registrations <= 10, String(registrations))
  await finish()
})

test('a DPS that moves the device is asked sooner again than one that changes nothing', async () => {
  let moves = 0
  const move = async () => ({ ...HOME, assignedHub: `moved-${(moves += 1)}` })
  const counts: number[] = []
  for (const register of [move, async () => HOME]) {
    const { clock, log, finish } = run({ open: rejects('NETWORK_REFUSED'), register })
    await clock.advance(2 * 3_600_000)
    counts.push(log.filter((line) => line === 'register').length)
    await finish()
  }
  assert.deepEqual(counts, [7, 3])
})

for (const [phase, scripted] of Object.entries({
  registering: { loadAssignment: async () => undefined, register: stuck },
  connecting: { open: stuck },
  connected: {},
  waiting: { open: rejects('NETWORK_DNS') },
} satisfies Record<string, Partial<Ports>>)) {
  test(`an abort while ${phase} ends supervision and closes what is open`, async () => {
    const { clock, states, sessions, finish } = run(scripted)
    await clock.advance(0)
    assert.equal(states.at(-1)?.phase, phase)
    await finish()
    assert.equal(states.at(-1)?.phase, 'stopped')
    assert.ok(sessions.every((session) => session.closed()))
    assert.deepEqual(clock.pending(), [])
  })
}

/** Waits for its signal, the last argument, as a port does that has no answer. */
function stuck(...args: readonly unknown[]): Promise<never> {
  const signal = args.at(-1) as AbortSignal
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })
}

test('a renewal is told as such: no failure, no waiting, and the next session begins at once', async () => {
  const failed: string[] = []
  const renewed: string[] = []
  const { clock, log, states, sessions, finish } = run({
    onFailed: ({ code }) => failed.push(code),
    onRenewed: ({ code }) => renewed.push(code),
  })
  await clock.advance(45 * 60_000)
  sessions[0]?.end('SESSION_RENEWED')
  await clock.advance(0)
  assert.deepEqual(log, ['open hub-1', 'open hub-1'])
  assert.deepEqual(
    states.map(({ phase }) => phase),
    ['connecting', 'connected', 'connecting', 'connected'],
  )
  assert.equal(sessions[0]?.closed(), true)
  assert.deepEqual([failed, renewed], [[], ['SESSION_RENEWED']])
  sessions[1]?.end('SESSION_RENEWED')
  await clock.advance(0)
  assert.equal(states.at(-1)?.phase, 'waiting')
  assert.deepEqual([failed, renewed], [['SESSION_RENEWED'], ['SESSION_RENEWED']])
  await finish()
})
