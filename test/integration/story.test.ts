/** What `scripts/demo` plays, with the agent that `scripts/build` has left. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runProgram } from '../kit/program.ts'
import type { Program, Ran } from '../kit/program.ts'

const demo = fileURLToPath(new URL('../../scripts/story/demo.ts', import.meta.url))
const withSmallDisk = fileURLToPath(new URL('../../scripts/story/with-small-disk', import.meta.url))

function play(...args: readonly string[]): Promise<Ran> {
  const program: Program = args.includes('offline') ? [withSmallDisk, process.execPath, demo] : [process.execPath, demo]
  return runProgram(program, args, { PATH: process.env['PATH'] ?? '' })
}

/** The object in the last line. */
function resultOf({ stdout }: Ran): Readonly<Record<string, unknown>> {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Readonly<Record<string, unknown>>
}

describe('the demo', { concurrency: true }, () => {
  test('the story without a name leads from an empty device to telemetry, and its key stays', async () => {
    const ran = await play('--messages', '2', '--json')
    const { ok, deviceId, authType, keyMode, keyLeaked } = resultOf(ran)
    assert.deepEqual(
      { status: ran.status, ok, deviceId, authType, keyMode, keyLeaked },
      { status: 0, ok: true, deviceId: 'press-07', authType: 'x509', keyMode: '0600', keyLeaked: false },
      ran.stdout,
    )
  })

  test('the story of a transition holds in every point, in less than a minute', async () => {
    const ran = await play('--story', 'transition', '--json')
    const { seconds, ...claims } = resultOf(ran)
    const all = [
      ...['ok', 'bornOnSas', 'movedToX509', 'provenByThumbprint', 'survivedPowerCut', 'badAuthorityRolledBack'],
      ...['reasonInTwin', 'fellBackToSas', 'causeInTwin', 'returnedToX509', 'sasRetired', 'sasRejectedAfterwards'],
      ...['oneSessionAtATime', 'nothingLost', 'keyStayed'],
    ]
    assert.deepEqual(claims, Object.fromEntries(all.map((name) => [name, true])), ran.stdout)
    assert.equal(ran.status, 0)
    assert.ok(Number(seconds) < 60, `${String(seconds)} s`)
  })

  test('the story of renewals holds in every point, in less than 90 seconds', async () => {
    const ran = await play('--story', 'renewal', '--json')
    const { seconds, ...claims } = resultOf(ran)
    const all = [
      ...['ok', 'certifiedOverHub', 'certifiedByDps', 'enrolledAtEst', 'reenrolledAtEst', 'threeRenewals'],
      ...['refusedRenewalKeptTheOld', 'renewedAfterwards', 'oneSessionAtATime', 'nothingLost'],
    ]
    assert.deepEqual(claims, Object.fromEntries(all.map((name) => [name, true])), ran.stdout)
    assert.equal(ran.status, 0)
    assert.ok(Number(seconds) < 90, `${String(seconds)} s`)
  })

  test('the story of a night without the hub: what was accepted is what came, in order', async () => {
    const ran = await play('--story', 'offline', '--json')
    const { ok, accepted, received, missing, foreign, outOfOrder, kills, diskFilled, waitingInOutbox } = resultOf(ran)
    assert.deepEqual(
      { status: ran.status, ok, accepted, received, missing, foreign, outOfOrder, kills, diskFilled, waitingInOutbox },
      {
        ...{ status: 0, ok: true, accepted: 10_000, received: 10_000, missing: 0, foreign: 0, outOfOrder: 0 },
        ...{ kills: 1, diskFilled: true, waitingInOutbox: 0 },
      },
      ran.stdout,
    )
  })

  test('a command line that is not understood names the stories there are', async () => {
    for (const args of [
      ['--story', 'nobody'],
      ['--messages', '0'],
      ['--story', 'transition', '--messages', '3'],
    ]) {
      const { status, stdout, stderr } = await play(...args)
      assert.equal(status, 2, args.join(' '))
      assert.equal(stdout, '')
      assert.match(stderr, /^ {2}first .*\n {2}offline .*\n {2}renewal .*\n {2}transition /m)
    }
  })
})
