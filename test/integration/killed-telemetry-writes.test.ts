/** The agent is killed at each write and at each sync of the log of its outbox, from its making to the third answer. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { idsOf, outboxOptions, sample } from '../kit/outbox.ts'
import { builtProgram, startProgram } from '../kit/program.ts'
import type { AgentProcess } from '../kit/program.ts'
import { handIn } from './killed-telemetry-kit.ts'
import type { Written } from './killed-telemetry-kit.ts'

const STREAM = 'press'
const GROUPS = 3

/** What a sync takes of a slow disk. */
const SLOW_MS = 1_000
const TOGETHER = 4

/** More calls than this there are not until the third answer, by far; the search for the last one ends. */
const MOST_CALLS = 100

/** The agent is the child, and strace beside it: whoever ends the child ends the agent. */
const strace = ['strace', '-D', '-f', '-qq', '-o', '/dev/null'] as const

const why = reasonAgainstStrace()

describe('the log of an outbox that is never finished', { concurrency: true, skip: why }, () => {
  test('keeps what was answered when the agent dies at a write to it', async (t) => {
    const answered = await dieAtEach('pwrite64', t)
    assert.ok(answered.length > GROUPS, 'each group takes a write at least, and the tables before')
  })

  test('keeps what was answered when the agent dies while SQLite syncs it', async (t) => {
    assert.ok((await dieAtEach('fsync', t)).length > 0, 'a new log is synced')
  })

  test('is synced for each answer', async (t) => {
    assert.deepEqual(
      await dieAtEach('fdatasync', t),
      Array.from({ length: GROUPS }, (_, at) => at),
    )
  })

  test('makes an answer wait that promises it, and no other, when a sync takes long', async () => {
    await using device = await makeLonely()
    await using agent = startTraced(device, 'fdatasync', `delay_enter=${SLOW_MS * 1000}`)
    const { telemetrySocket } = device.config.paths
    assert.ok(await stored(telemetrySocket, groupOf(0), agent))
    const tookMs = async (at: number, durability: string) => {
      const from = performance.now()
      const { status } = await handIn(telemetrySocket, groupOf(at), { query: `&durability=${durability}` })
      assert.equal(status, 200)
      return performance.now() - from
    }
    const written = await tookMs(1, 'written')
    assert.ok(written < SLOW_MS, `written was answered after ${written} ms`)
    for (const at of [2, 3]) {
      const synced = await tookMs(at, 'synced')
      assert.ok(synced >= SLOW_MS, `synced was answered after ${synced} ms`)
    }
  })
})

/** Lets an agent die at its first call, at the second, and so on until it lives; the groups that each had answered before. */
async function dieAtEach(call: string, t: TestContext): Promise<readonly number[]> {
  const all: number[] = []
  for (;;) {
    const answered = await dieAt(call, all.length + 1)
    if (answered === GROUPS) break
    all.push(answered)
    assert.ok(all.length < MOST_CALLS, 'the agent never comes to its third answer')
  }
  t.diagnostic(`answered before each ${call}: ${all.join(' ')}`)
  return all
}

/**
 * Kills an agent with an empty outbox at its n-th call of this name, or after its third answer, and looks at what it
 * leaves.
 *
 * @returns groups that it had answered
 */
async function dieAt(call: string, n: number): Promise<number> {
  await using device = await makeLonely()
  await using agent = startTraced(device, call, `signal=SIGKILL:when=${n}`)
  const groups = Array.from({ length: GROUPS }, (_, at) => groupOf(at))
  let answered = 0
  for (const group of groups) {
    if (!(await stored(device.config.paths.telemetrySocket, group, agent))) break
    answered += 1
  }
  if (answered === GROUPS) agent.kill()
  assert.equal(await agent.ended, null, `the agent has ended by itself:\n${agent.journal.text()}`)
  await lookAt(device.config.paths.outboxFile, groups, answered)
  return answered
}

/** A device without a cloud. */
function makeLonely(): Promise<Device> {
  return makeDevice(
    { dpsAddress: 'dps.invalid', idScope: '0ne00000001', caFile: '' },
    { registrationId: 'press-07', toml: '[telemetry]\ndevice = false\n' },
  )
}

/** @param what becomes of the call, in the words of strace */
function startTraced({ config, variables }: Device, call: string, what: string): AgentProcess {
  const only = ['-P', `${config.paths.outboxFile}-wal`, '-e', `trace=${call}`]
  const inject = ['-e', `inject=${call}:${what}`]
  const [program, ...words] = strace
  // Calls are counted by thread, and syncs come from the pool.
  return startProgram([program, ...words, ...only, ...inject, ...builtProgram], {
    ...variables,
    UV_THREADPOOL_SIZE: '1',
  })
}

/** False when the agent died before it said so. */
async function stored(socketPath: string, group: readonly Written[], agent: AgentProcess): Promise<boolean> {
  let isDead = false
  void agent.ended.then(() => (isDead = true))
  return await eventually(async () => {
    const { status } = await handIn(socketPath, group)
    if (status === 200) return true
    return isDead ? false : undefined
  })
}

/** What a start after that finds: whole groups in their order, those that were answered at least, and room for more. */
async function lookAt(path: string, groups: readonly (readonly Written[])[], answered: number): Promise<void> {
  const { options, failures } = outboxOptions()
  await using outbox = await openOutbox(path, options)
  const found = idsOf(outbox, STREAM).flat()
  const kept = Math.ceil(found.length / TOGETHER)
  assert.ok(kept >= answered, `${answered} groups were answered, ${kept} are there`)
  assert.deepEqual(found, idsOfGroups(groups.slice(0, kept)))
  const again = groups.slice(answered).flat()
  await outbox.append(
    again.map(({ id, stream, body }) => sample(id, { stream, body })),
    'synced',
  )
  assert.deepEqual(idsOf(outbox, STREAM).flat(), [...found, ...again.map(({ id }) => id)])
  assert.deepEqual(failures, [])
}

function groupOf(at: number): readonly Written[] {
  return Array.from({ length: TOGETHER }, (_, place) => {
    const n = at * TOGETHER + place + 1
    const time = new Date(Date.UTC(2026, 5, 1) + n).toISOString()
    return { id: `m-${n}`, stream: STREAM, n, time, body: `{"n":${n}}` }
  })
}

function idsOfGroups(groups: readonly (readonly Written[])[]): readonly string[] {
  return groups.flat().map(({ id }) => id)
}

/** Why strace cannot be used here; false when it can. */
function reasonAgainstStrace(): string | false {
  const [program, ...words] = strace
  const { error, status, stderr } = spawnSync(program, [...words, '-e', 'trace=none', 'true'], { encoding: 'utf8' })
  if (error !== undefined) return `there is no strace: ${error.message}`
  return status === 0 ? false : `strace may not be used here: ${stderr.trim()}`
}
