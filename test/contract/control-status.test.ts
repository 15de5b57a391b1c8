import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runStatus } from '../../agent/commands/status.ts'
import { openControl } from '../../agent/control/server.ts'
import type { Status } from '../../agent/control/status.ts'
import { track } from '../../agent/health/tracker.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

const good: Status = {
  format: 1,
  atMs: Date.UTC(2026, 0, 5),
  agent: { version: '0.1.0', pid: 1, startedAtMs: 0 },
  device: { registrationId: 'press-07', idScope: '0ne', deviceId: 'press-07', assignedHub: 'hub.example' },
  connection: { state: 'connected', sinceMs: 0 },
  auth: { mode: 'x509', lane: 'x509', state: 'active' },
  telemetry: { intervalSeconds: 60, acknowledged: 1, buffered: 0, bufferedBytes: 0, dropped: {} },
  warnings: [],
}

function onFailure(failure: Error): void {
  throw failure
}

/** Runs the command against an agent that answers this; none when it is undefined. */
async function run(answer: unknown, json = false) {
  await using folder = await makeTemporaryFolder()
  const socket = join(folder.path, 'control.sock')
  const written = { stdout: '', stderr: '' }
  const io = {
    stdout: (text: string) => void (written.stdout += text),
    stderr: (text: string) => void (written.stderr += text),
  }
  const clock = systemClock
  await using agent =
    answer === undefined ? undefined : await openControl({ path: socket, clock, answer: () => answer, onFailure })
  const exitCode = await runStatus(io, { socket, clock, json })
  return { exitCode, running: agent !== undefined, ...written }
}

test('a device that is fine exits 0 and says so in at most 20 lines', async () => {
  const { exitCode, stdout, stderr } = await run(good)
  assert.equal(exitCode, 0)
  assert.match(stdout, /^Safe +yes: /)
  assert.ok(stdout.trimEnd().split('\n').length <= 20)
  assert.equal(stderr, '')
})

const warningsOf = (code: 'KEY_EXPOSED' | 'TELEMETRY_DROPPED') => track([], [{ code, text: 'why' }], 0).warnings

const exits: readonly (readonly [what: string, status: Status, exitCode: number])[] = [
  ['not connected', { ...good, connection: { state: 'disconnected', sinceMs: 0, doing: 'connecting' } }, 1],
  ['connected, but not as wanted', { ...good, warnings: warningsOf('KEY_EXPOSED') }, 3],
  ['needs attention soon', { ...good, warnings: warningsOf('TELEMETRY_DROPPED') }, 4],
]

for (const [what, status, expected] of exits) {
  test(`${what}: exit ${expected}, in text and in JSON`, async () => {
    assert.equal((await run(status)).exitCode, expected)
    const { exitCode, stdout } = await run(status, true)
    assert.equal(exitCode, expected)
    const shown = JSON.parse(stdout) as Record<string, unknown>
    assert.deepEqual({ ...shown, safe: '', because: '' }, { ...status, ok: false, exitCode, safe: '', because: '' })
  })
}

test('no agent: exit 5, with the next command', async () => {
  const { exitCode, stdout, stderr } = await run(undefined)
  assert.equal(exitCode, 5)
  assert.equal(stdout, '')
  assert.match(stderr, /AGENT_NOT_RUNNING.*\n.*systemctl start iot-device-agent/)
})

test('no agent, in JSON: the same as one object', async () => {
  const { exitCode, stdout } = await run(undefined, true)
  assert.equal(exitCode, 5)
  const { ok, failure } = JSON.parse(stdout) as { ok: boolean; failure: { code: string } }
  assert.deepEqual([ok, failure.code], [false, 'AGENT_NOT_RUNNING'])
})

test('an agent of another version: exit 1, and the advice to restart it', async () => {
  const { exitCode, stderr } = await run({ format: 2 })
  assert.equal(exitCode, 1)
  assert.match(stderr, /CONTROL_BAD_ANSWER.*\n.*restart/)
})
