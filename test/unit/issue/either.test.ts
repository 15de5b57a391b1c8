import assert from 'node:assert/strict'
import test from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { createEither } from '../../../agent/issue/either.ts'
import type { Issuer } from '../../../agent/issue/port.ts'

const request = { registrationId: 'edge-0042', csrPem: 'PEM' }
const refused = { outcome: 'refused', problems: [] } as const

/** An issuer that gives what it is told to, and remembers what it heard. */
function makeIssuer(name: string) {
  const heard: string[] = []
  let gives = Promise.withResolvers<string>()
  const issuer: Issuer = {
    name,
    async issue(_, signal) {
      heard.push('asked')
      const aborted = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => {
        heard.push('aborted')
        aborted.reject(signal.reason as Error)
      })
      return Promise.race([gives.promise, aborted.promise])
    },
    received: async (_, { outcome }) => void heard.push(outcome),
  }
  return {
    ...{ issuer, heard },
    give: (pem: string) => gives.resolve(pem),
    anew: () => void (gives = Promise.withResolvers<string>()),
    fail: (error: Error) => gives.reject(error),
  }
}

const parts = () => ({ clock: createFakeClock(), random: () => 1, warn: (failure: Failure) => assert.fail(failure) })

test('the first chain counts, the other issuer is asked no longer, and its name is told', async () => {
  const [folder, command] = [makeIssuer('folder'), makeIssuer('command')]
  const either = createEither(folder.issuer, command.issuer, parts())
  const issued = either.issue(request, AbortSignal.timeout(5_000))
  command.give('chain')
  assert.equal(await issued, 'chain')
  assert.equal(either.name, 'command')
  assert.deepEqual(folder.heard, ['asked', 'aborted'])
})

test('of a refusal only whoever gave the chain hears, and then both are asked again', async () => {
  const [folder, command] = [makeIssuer('folder'), makeIssuer('command')]
  const either = createEither(folder.issuer, command.issuer, parts())
  folder.give('bad')
  await either.issue(request, AbortSignal.timeout(5_000))
  await either.received(request, refused)
  assert.ok(folder.heard.includes('refused') && !command.heard.includes('refused'))
  folder.anew()
  const again = either.issue(request, AbortSignal.timeout(5_000))
  command.give('good')
  assert.equal(await again, 'good')
})

test('that a chain is accepted concerns both: what one has laid out for it is cleared away', async () => {
  const [folder, command] = [makeIssuer('folder'), makeIssuer('command')]
  const either = createEither(folder.issuer, command.issuer, parts())
  command.give('chain')
  await either.issue(request, AbortSignal.timeout(5_000))
  await either.received(request, { outcome: 'accepted' })
  assert.ok(folder.heard.includes('accepted') && command.heard.includes('accepted'))
})

test('an abort ends both', async () => {
  const [folder, command] = [makeIssuer('folder'), makeIssuer('command')]
  const either = createEither(folder.issuer, command.issuer, parts())
  const stop = new AbortController()
  const issued = either.issue(request, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(issued, /enough/)
  assert.deepEqual(command.heard, ['asked', 'aborted'])
})

test('an issuer that is not able to work is told of and asked again, and the other one is not disturbed', async () => {
  const [folder, command] = [makeIssuer('folder'), makeIssuer('command')]
  const { clock, ...rest } = parts()
  const told: Failure[] = []
  const either = createEither(folder.issuer, command.issuer, { ...rest, clock, warn: (each) => void told.push(each) })
  const issued = either.issue(request, AbortSignal.timeout(5_000))
  folder.fail(new Failure('DISK_FULL', 'no room'))
  await clock.waiting()
  folder.anew()
  await clock.advance(clock.pending()[0] ?? 0)
  assert.deepEqual(folder.heard, ['asked', 'asked'])
  assert.deepEqual(command.heard, ['asked'])
  command.give('chain')
  assert.equal(await issued, 'chain')
  assert.deepEqual(
    told.map(({ code }) => code),
    ['DISK_FULL'],
  )
})
