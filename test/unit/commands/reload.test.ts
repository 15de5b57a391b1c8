import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runReload } from '../../../agent/commands/reload.ts'
import { openControl } from '../../../agent/control/server.ts'
import { Failure } from '../../../agent/failure.ts'
import { systemClock as clock } from '../../../agent/system/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

/** What `reload` prints and ends with, beside an agent that answers like this; beside none when it is left out. */
async function reloaded(answer?: () => unknown) {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const asked: unknown[] = []
  await using _control = answer && (await openControl({ path, clock, onFailure: () => undefined, answer: take }))
  function take(request: unknown): unknown {
    asked.push(request)
    return answer?.()
  }
  const said = { stdout: '', stderr: '' }
  const io = {
    stdout: (text: string) => void (said.stdout += text),
    stderr: (text: string) => void (said.stderr += text),
  }
  const exitCode = await runReload(io, { socket: path, clock })
  return { exitCode, ...said, asked }
}

test('keys that were taken up, overruled and left for a restart have a line each, and the exit code is 0', async () => {
  const taken = ['telemetry.intervalSeconds', 'log.level']
  const pending = ['dps.host', 'paths.stateDir']
  const { exitCode, stdout, stderr, asked } = await reloaded(() => ({ taken, overruled: ['log.level'], pending }))
  assert.deepEqual(asked, [{ ask: 'reload' }])
  assert.equal(exitCode, 0)
  assert.equal(stderr, '')
  assert.deepEqual(stdout.split('\n'), [
    'taken up: telemetry.intervalSeconds, log.level',
    'the device twin goes before: log.level',
    'needs a restart: dps.host, paths.stateDir; systemctl restart iot-device-agent',
    '',
  ])
})

test('a reload without a change says so', async () => {
  const { exitCode, stdout } = await reloaded(() => ({ taken: [], overruled: [], pending: [] }))
  assert.deepEqual([exitCode, stdout], [0, 'nothing has changed\n'])
})

test('the problems of an invalid configuration go to stderr as they are, and the exit code is 78', async () => {
  const problems = 'CONFIG_INVALID: the configuration has 1 problem:\n\n1. log.level\n'
  const { exitCode, stdout, stderr } = await reloaded(() => {
    throw new Failure('CONFIG_INVALID', problems)
  })
  assert.deepEqual([exitCode, stdout, stderr], [78, '', problems])
})

test('without an agent the exit code is 5', async () => {
  const { exitCode, stderr } = await reloaded()
  assert.equal(exitCode, 5)
  assert.match(stderr, /^AGENT_NOT_RUNNING: /)
})

for (const [what, answer] of [
  ['an agent that knows no reload', () => Promise.reject(new Failure('CONTROL_BAD_REQUEST', 'what?'))],
  ['an answer of another form', () => ({ taken: 'all' })],
] as const) {
  test(`${what} gives exit code 1`, async () => {
    const { exitCode, stdout, stderr } = await reloaded(answer)
    assert.deepEqual([exitCode, stdout], [1, ''])
    assert.match(stderr, /^CONTROL_BAD_/)
  })
}
