/** The hub as issuer beside a hub that says nothing useful, by a session that is played: each way to fail has an end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createHubIssuer } from '../../../agent/issue/hub/issuer.ts'
import type { CredentialAnswer, CredentialLine } from '../../../agent/issue/hub/line.ts'
import { createFakeClock } from '../../kit/clock.ts'

const request = {
  registrationId: 'edge-1',
  csrPem: '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n',
}

/** @param plays what the hub does about each request: an answer, or the end of the session */
function setUp(plays: (rid: string) => Omit<CredentialAnswer, 'rid'> | 'ends') {
  const clock = createFakeClock()
  const asked: number[] = []
  let rids = 0
  let rid: string | undefined
  const line = (): Promise<CredentialLine> => {
    const ended = Promise.withResolvers<undefined>()
    return Promise.resolve({
      deviceId: 'edge-1',
      ended: ended.promise,
      openCredentials: (onAnswer) =>
        Promise.resolve((by: string) => {
          asked.push(clock.monotonicMs())
          const play = plays(by)
          if (play === 'ends') ended.resolve(undefined)
          else onAnswer({ rid: by, ...play })
          return Promise.resolve()
        }),
    } as CredentialLine)
  }
  const note = {
    ridFor: () => Promise.resolve((rid ??= `rid-${(rids += 1)}`)),
    forget: () => {
      rid = undefined
      return Promise.resolve()
    },
  }
  const issuer = createHubIssuer({ line, note, clock, random: () => 1, warn: () => undefined })
  /** Lets time pass until it has come to an end. */
  const ends = async (work: Promise<unknown>) => {
    let isOver = false
    const settled = work.then(
      () => (isOver = true),
      () => (isOver = true),
    )
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve))
      const next = clock.pending()[0]
      if (next !== undefined) await clock.advance(next)
    }
    await settled
  }
  const gaps = () => asked.slice(1).map((atMs, index) => atMs - (asked[index] ?? 0))
  return { issuer, asked, gaps, ends }
}

const within = () => AbortSignal.timeout(20_000)

test('chains that are refused come ever more seldom, and after eight the hub is given up', async () => {
  const chain = JSON.stringify({ correlationId: 'c', certificates: ['AAAA'] })
  const bench = setUp(() => ({ status: 200, text: chain }))
  const work = (async () => {
    for (;;) {
      await bench.issuer.issue(request, within())
      await bench.issuer.received(request, { outcome: 'refused', problems: [] })
    }
  })()
  await bench.ends(work)
  await assert.rejects(work, (error) => error instanceof Failure && error.code === 'HUB_ISSUES_NOTHING')
  assert.equal(bench.asked.length, 8)
  assert.deepEqual(
    bench.gaps(),
    bench.gaps().toSorted((one, other) => one - other),
  )
  assert.ok((bench.gaps().at(-1) ?? 0) > 600_000)
})

test('sessions that end in the place of an answer come to an end as well', async () => {
  const bench = setUp(() => 'ends')
  const work = bench.issuer.issue(request, within())
  await bench.ends(work)
  await assert.rejects(work, (error) => error instanceof Failure && error.code === 'HUB_ISSUES_NOTHING')
  assert.equal(bench.asked.length, 8)
})

test('a chain whose dates do not fit is given ten times more, and then another one is asked for', async () => {
  const chain = JSON.stringify({ correlationId: 'c', certificates: ['AAAA'] })
  const bench = setUp(() => ({ status: 200, text: chain }))
  const work = (async () => {
    for (let round = 0; round < 12; round += 1) {
      await bench.issuer.issue(request, within())
      await bench.issuer.received(request, { outcome: 'postponed', problems: [] })
    }
  })()
  await bench.ends(work)
  await work
  assert.equal(bench.asked.length, 2)
})
