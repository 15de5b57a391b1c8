import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runOrder } from '../../../agent/commands/order.ts'
import type { OrderOptions } from '../../../agent/commands/order.ts'
import { orderOf } from '../../../agent/control/order.ts'
import { openControl } from '../../../agent/control/server.ts'
import type { AuthOrder, OrderAnswer } from '../../../agent/credential/rotation-ports.ts'
import { Failure } from '../../../agent/failure.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { runProgram, sourceProgram } from '../../kit/program.ts'

type Auth = Readonly<Record<string, unknown>>

const accepted: OrderAnswer = { accepted: true, steps: ['first this', 'then that'] }

/** An agent behind a socket, with the `auth` part of its status at each look; the last one stays. */
async function openAgent(answer: (order: AuthOrder) => OrderAnswer, looks: readonly Auth[] = []) {
  const folder = await makeTemporaryFolder()
  const socket = join(folder.path, 'control.sock')
  let looked = 0
  let ordered = false
  const status = () => {
    const auth = looks[Math.min(looked, looks.length - 1)]
    looked += 1
    return {
      format: 1,
      atMs: 0,
      agent: { version: '1', pid: 1, startedAtMs: 0 },
      device: { registrationId: 'press-07', idScope: '0ne' },
      connection: { state: 'connected', sinceMs: 0 },
      auth: { lane: auth?.['mode'], ...auth },
      telemetry: { intervalSeconds: 60, acknowledged: 0, buffered: 0, bufferedBytes: 0, dropped: {} },
      warnings: [],
    }
  }
  const control = await openControl({
    path: socket,
    clock: systemClock,
    onFailure(failure) {
      throw failure
    },
    answer(request) {
      if (request.ask === 'status') return status()
      assert.equal(ordered, false, 'one order is given')
      ordered = true
      return answer(orderOf(request))
    },
  })
  return {
    socket,
    looked: () => looked,
    async [Symbol.asyncDispose]() {
      await control[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

async function run(options: Pick<OrderOptions, 'socket'> & Partial<OrderOptions>) {
  const printed = { stdout: '', stderr: '' }
  const io = {
    stdout: (text: string) => void (printed.stdout += text),
    stderr: (text: string) => void (printed.stderr += text),
  }
  const exitCode = await runOrder(io, { clock: systemClock, order: 'x509', rehearse: false, ...options })
  return { exitCode, ...printed }
}

test('an order that is accepted prints its steps, one a line, and what to type next', async () => {
  const orders: AuthOrder[] = []
  await using agent = await openAgent((order) => {
    orders.push(order)
    return accepted
  })
  assert.deepEqual(await run({ socket: agent.socket, order: 'sas' }), {
    exitCode: 0,
    stdout: 'first this\nthen that\nTo see how it goes:\n  iot-device-agent status\n',
    stderr: '',
  })
  assert.deepEqual(orders, [{ order: 'sas', cause: 'command', rehearse: false }])
})

for (const [order, words] of [
  ['x509', 'auth x509'],
  ['renew', 'renew'],
  ['reprovision', 'reprovision'],
] as const) {
  test(`a rehearsal of ${words} says that nothing has changed, and how to do it`, async () => {
    await using agent = await openAgent(({ rehearse }) => ({ ...accepted, accepted: rehearse }))
    const { exitCode, stdout } = await run({ socket: agent.socket, order, rehearse: true })
    assert.equal(exitCode, 0)
    assert.match(
      stdout,
      new RegExp(`^first this\nthen that\n.*nothing has changed.*\n {2}iot-device-agent ${words}\n$`),
    )
  })
}

test('an order that is refused prints code, reason and advice, and exits 1', async () => {
  await using agent = await openAgent(() => ({ accepted: false, code: 'AUTH_NO_SAS', steps: ['no key is configured'] }))
  const { exitCode, stdout, stderr } = await run({ socket: agent.socket, order: 'sas', wait: false })
  assert.equal(exitCode, 1)
  assert.equal(stdout, '')
  assert.equal(stderr, `AUTH_NO_SAS: no key is configured\n  ${new Failure('AUTH_NO_SAS', '').advice}\n`)
})

test('a refusal with a code that this version does not know is printed all the same', async () => {
  await using agent = await openAgent(() => ({ accepted: false, code: 'AUTH_NEWER', steps: ['because'] }))
  const { exitCode, stderr } = await run({ socket: agent.socket })
  assert.equal(exitCode, 1)
  assert.match(stderr, /^AUTH_NEWER: because\n/)
})

test('an agent that fails over an order says so, and the command exits 1', async () => {
  await using agent = await openAgent(() => {
    throw new Failure('DISK_FULL', 'no space')
  })
  const { exitCode, stderr } = await run({ socket: agent.socket })
  assert.equal(exitCode, 1)
  assert.match(stderr, /^DISK_FULL: no space\n {2}\S/)
})

test('without an agent: exit 5, with the next command', async () => {
  await using folder = await makeTemporaryFolder()
  const { exitCode, stdout, stderr } = await run({ socket: join(folder.path, 'none.sock'), wait: true })
  assert.equal(exitCode, 5)
  assert.equal(stdout, '')
  assert.match(stderr, /^AGENT_NOT_RUNNING: .*\n.*systemctl start iot-device-agent/)
})

/** Runs with `--wait`, and moves the time on from look to look. */
async function runWaiting(looks: readonly Auth[], answer: OrderAnswer = accepted) {
  await using agent = await openAgent(() => answer, looks)
  const clock = createFakeClock()
  let over = false
  const running = run({ socket: agent.socket, clock, wait: true }).finally(() => (over = true))
  while (!over) {
    await new Promise((resolve) => setImmediate(resolve))
    // Only the pause between two looks is so short; the deadlines of the socket are not to pass.
    if (clock.pending()[0] === 500) await clock.advance(500)
  }
  return { ...(await running), looked: agent.looked(), tookMs: clock.monotonicMs() }
}

const old = { result: 'rolledBack', code: 'AUTH_PROOF_LATE', reason: 'long ago', atMs: 1 }
const onSas = { state: 'active', mode: 'sas', history: [old] }
const phase = (state: string) => ({ state, mode: 'sas', history: [old] })

test('--wait prints each phase once, and exits 0 when the wanted way is in use', async () => {
  const { exitCode, stdout, looked, tookMs } = await runWaiting([
    onSas,
    onSas,
    phase('preparing'),
    phase('awaitingCertificate'),
    phase('awaitingCertificate'),
    phase('registering'),
    phase('proving'),
    phase('committing'),
    { state: 'active', mode: 'x509', history: [old, { result: 'active', atMs: 2 }] },
  ])
  assert.equal(exitCode, 0)
  assert.deepEqual(
    stdout
      .split('\n')
      .slice(2, -1)
      .map((line) => line.split(':')[0]),
    ['preparing', 'awaitingCertificate', 'registering', 'proving', 'committing', 'active'],
  )
  assert.deepEqual([looked, tookMs], [9, 7 * 500])
})

test('--wait for what is so already exits 0 at once, whatever came before', async () => {
  const { exitCode, tookMs } = await runWaiting([{ state: 'active', mode: 'x509', history: [old] }])
  assert.deepEqual([exitCode, tookMs], [0, 0])
})

test('--wait exits 1 with code, reason and advice when the device has gone back', async () => {
  const last = { result: 'rolledBack', code: 'HUB_REFUSED_CREDENTIAL', reason: 'the hub refuses it', atMs: 2 }
  const { exitCode, stdout, stderr } = await runWaiting([
    onSas,
    phase('rollingBack'),
    { ...onSas, history: [old, last] },
  ])
  assert.equal(exitCode, 1)
  assert.match(stdout, /\nrollingBack: /)
  const { advice } = new Failure('HUB_REFUSED_CREDENTIAL', '')
  assert.equal(stderr, `HUB_REFUSED_CREDENTIAL: the hub refuses it\n  ${advice}\n`)
})

test('--wait takes the same outcome once more for a new one', async () => {
  const { exitCode, stderr } = await runWaiting([
    onSas,
    phase('proving'),
    { ...onSas, history: [old, { ...old, atMs: 2 }] },
  ])
  assert.equal(exitCode, 1)
  assert.match(stderr, /^AUTH_PROOF_LATE: long ago/)
})

test('--wait knows a move that came and went between two looks, also when it was the first ever', async () => {
  const { exitCode } = await runWaiting([{ state: 'active', mode: 'sas' }, onSas])
  assert.equal(exitCode, 1)
})

test('--wait does not wait after a refusal', async () => {
  const { exitCode, looked } = await runWaiting([onSas], { accepted: false, code: 'AUTH_BUSY', steps: ['a move'] })
  assert.deepEqual([exitCode, looked], [1, 1])
})

test('--wait ends after ten minutes and says that the move goes on', async () => {
  const { exitCode, stderr, tookMs } = await runWaiting([onSas, phase('awaitingCertificate')])
  assert.equal(exitCode, 1)
  assert.match(stderr, /^AUTH_WAIT_OVER: .*10 minutes.*awaitingCertificate.*\n.*iot-device-agent status/)
  assert.equal(tookMs, 600_000)
})

test('the program has the commands, works without a configuration, and names both ways when another is given', async () => {
  await using agent = await openAgent(() => accepted)
  const environment = { IOT_AGENT_RUNTIME_DIR: agent.socket.replace(/\/control\.sock$/, '') }
  const ran = await runProgram(sourceProgram, ['auth', 'x509'], environment)
  assert.equal(ran.status, 0)
  assert.match(ran.stdout, /^first this\nthen that\n/)
  for (const words of [['auth', 'tpm'], ['auth'], ['auth', 'sas', '--rehearse', '--wait'], ['renew', 'x509']]) {
    const { status, stderr } = await runProgram(sourceProgram, words, environment)
    assert.equal(status, 2, words.join(' '))
    if (words.length < 3 && words[0] === 'auth') assert.match(stderr, /sas.*x509/)
  }
})
