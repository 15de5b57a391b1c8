import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { createRoster } from '../../../../agent/telemetry/sources/roster.ts'
import type { Entry } from '../../../../agent/telemetry/sources/roster.ts'

interface Member {
  readonly identity: string
  run(signal: AbortSignal): Promise<never>
}

/** A roster whose members tell when they begin and end, and end only when they are let. */
function bench() {
  const told: string[] = []
  const gates = new Map<string, PromiseWithResolvers<void>>()
  const breaks = new Map<string, (error: Error) => void>()
  const roster = createRoster<Member>()
  const entry = (name: string, identity = name): Entry<Member> => ({
    name,
    identity,
    create: () => ({
      identity,
      async run(signal) {
        told.push(`${identity} begins`)
        const broken = Promise.withResolvers<never>()
        breaks.set(identity, broken.reject)
        signal.addEventListener('abort', () => broken.reject(signal.reason as Error))
        try {
          return await broken.promise
        } finally {
          await gates.get(identity)?.promise
          told.push(`${identity} ends`)
        }
      },
    }),
  })
  const hold = (identity: string) => {
    const gate = Promise.withResolvers<void>()
    gates.set(identity, gate)
    return gate.resolve
  }
  return { roster, told, entry, hold, fail: (identity: string) => breaks.get(identity)?.(new Error('broken')) }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await setImmediate()
}

test('who stays goes on, who is new begins, who is gone ends', async () => {
  const { roster, told, entry } = bench()
  const stop = new AbortController()
  roster.assign([entry('a'), entry('b')])
  await turns()
  assert.deepEqual(told, [], 'nobody begins before the roster runs')
  const over = roster.run(stop.signal).catch((error: unknown) => error)
  await turns()
  const [a] = roster.members()
  roster.assign([entry('c'), entry('a')])
  await turns()
  assert.deepEqual(new Set(told), new Set(['a begins', 'b begins', 'b ends', 'c begins']))
  assert.equal(roster.members()[1], a)
  stop.abort(new Error('over'))
  assert.equal(await over, stop.signal.reason)
  assert.deepEqual(new Set(told.slice(4)), new Set(['a ends', 'c ends']))
})

test('one that is changed begins when the one before has ended, however often it is changed meanwhile', async () => {
  const { roster, told, entry, hold } = bench()
  const stop = new AbortController()
  roster.assign([entry('a', 'a1')])
  const over = roster.run(stop.signal).catch((error: unknown) => error)
  await turns()
  const letGo = hold('a1')
  roster.assign([entry('a', 'a2')])
  roster.assign([])
  roster.assign([entry('a', 'a3')])
  await turns()
  assert.deepEqual(told, ['a1 begins'])
  letGo()
  await turns()
  assert.deepEqual(told, ['a1 begins', 'a1 ends', 'a3 begins'])
  stop.abort(new Error('over'))
  await over
})

test('the end waits for all, also for one that is no longer on the roster', async () => {
  const { roster, told, entry, hold } = bench()
  const stop = new AbortController()
  roster.assign([entry('a')])
  let isOver = false
  const over = roster.run(stop.signal).catch(() => (isOver = true))
  await turns()
  const letGo = hold('a')
  roster.assign([])
  stop.abort(new Error('over'))
  await turns()
  assert.equal(isOver, false)
  letGo()
  await over
  assert.deepEqual(told, ['a begins', 'a ends'])
})

test('a member that breaks is heard of at once', async () => {
  const { roster, entry, fail } = bench()
  roster.assign([entry('a'), entry('b')])
  const over = roster.run(new AbortController().signal)
  await turns()
  fail('a')
  await assert.rejects(over, /broken/)
})
