import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import type { Failure } from '../../../agent/failure.ts'
import { createCommandIssuer } from '../../../agent/issue/command.ts'
import { programEnvironment } from '../../../agent/system/run-program.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const request = { registrationId: 'edge-0042', csrPem: '-----BEGIN CERTIFICATE REQUEST-----\nAB\n' }
/** What a program makes of it here. */
const certificatePem = '-----BEGIN CERTIFICATE-----\nAB\n'
const refused = { outcome: 'refused', problems: [{ code: 'CHAIN_KEY_MISMATCH', message: 'no' }] } as const
const postponed = { outcome: 'postponed', problems: [{ code: 'CHAIN_NOT_YET_VALID', message: 'no' }] } as const

/** An issuer that runs a shell script; `$runs` is a file with a line for each run. */
async function setUp(script: string, { timeoutMs = 5_000, random = () => 1 } = {}) {
  const folder = await makeTemporaryFolder()
  const [program, runs] = [join(folder.path, 'sign'), join(folder.path, 'runs')]
  await writeFile(program, `#!/bin/sh\nruns=${runs}\necho run >>$runs\n${script}\n`)
  await chmod(program, 0o755)
  const clock = createFakeClock()
  const warnings: Failure[] = []
  const environment = programEnvironment({ PATH: process.env['PATH'], AZURE_SECRET: 'x' })
  const warn = (failure: Failure) => void warnings.push(failure)
  const issuer = createCommandIssuer({ program: [program, '--one'], timeoutMs, environment, clock, random, warn })
  const count = async () => (await readFile(runs, 'utf8').catch(() => '')).split('\n').length - 1
  /** Waits until so many runs have failed, and the pause after the last has begun. */
  const told = async (failures: number) => {
    while (warnings.length < failures) await new Promise((resolve) => setImmediate(resolve))
    await clock.waiting()
  }
  return {
    issuer,
    clock,
    warnings,
    count,
    told,
    path: folder.path,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

const within = () => AbortSignal.timeout(20_000)

test('the program reads the request and gives the chain, with its arguments and without the environment of the agent', async () => {
  await using bench = await setUp('echo "$1 $AZURE_SECRET."; sed "s/ REQUEST//"')
  assert.equal(await bench.issuer.issue(request, within()), `--one .\n${certificatePem}`)
  assert.deepEqual(bench.warnings, [])
})

const failures: readonly (readonly [what: string, script: string, says: RegExp])[] = [
  ['an exit code', 'echo "no quota" >&2; exit 3', /ended with exit code 3: no quota/],
  [
    'a good end without a certificate',
    'echo "no quota" >&2; echo "<html>"',
    /ended well and printed no certificate in PEM: no quota/,
  ],
  ['a signal', 'kill -9 $$', /was ended by SIGKILL/],
  ['more than a chain can be', 'head -c 70000 /dev/zero', /printed 70000 bytes, a chain has at most 65536/],
  ['words that would move a cursor', 'printf "a\\033[2Jb" >&2; exit 1', /: a \[2Jb$/],
]
for (const [what, script, says] of failures) {
  test(`${what} is told, and the program is run again after a pause that grows`, async () => {
    await using bench = await setUp(script)
    const stop = new AbortController()
    const issued = bench.issuer.issue(request, stop.signal)
    const pauses: number[] = []
    for (let run = 1; run <= 3; run += 1) {
      await bench.told(run)
      pauses.push(bench.clock.pending()[0] ?? 0)
      await bench.clock.advance(pauses.at(-1) ?? 0)
    }
    await bench.told(4)
    stop.abort()
    await assert.rejects(issued)
    // Full jitter at its most: base, twice, four times.
    assert.deepEqual(pauses, [5_000, 10_000, 20_000])
    assert.equal(await bench.count(), 4)
    assert.ok(bench.warnings.every(({ code }) => code === 'ISSUER_PROGRAM_FAILED'))
    assert.match(bench.warnings[0]?.message ?? '', says)
  })
}

test('a program that is not there is told', async () => {
  const clock = createFakeClock()
  const told = Promise.withResolvers<Failure>()
  const options = { timeoutMs: 1000, environment: {}, clock, random: () => 0, warn: told.resolve }
  const stop = new AbortController()
  const issued = createCommandIssuer({ ...options, program: ['/nowhere/sign'] }).issue(request, stop.signal)
  assert.match((await told.promise).message, /\/nowhere\/sign cannot be started \(ENOENT\)/)
  stop.abort()
  await assert.rejects(issued)
})

test('a program that takes too long is ended and told', async () => {
  await using bench = await setUp('sleep 60', { timeoutMs: 30_000 })
  const stop = new AbortController()
  const issued = bench.issuer.issue(request, stop.signal)
  await bench.clock.waiting(30_000)
  await bench.clock.advance(30_000)
  await bench.told(1)
  stop.abort()
  await assert.rejects(issued)
  assert.match(bench.warnings[0]?.message ?? '', /did not end within 30 s/)
})

test('after a refused chain the program is not run again at once', async () => {
  await using bench = await setUp('sed "s/ REQUEST//"')
  await bench.issuer.issue(request, within())
  await bench.issuer.received(request, refused)
  const again = bench.issuer.issue(request, within())
  await bench.clock.waiting(5_000)
  assert.equal(await bench.count(), 1)
  await bench.clock.advance(5_000)
  await again
  assert.equal(await bench.count(), 2)
})

test('a chain whose dates do not fit yet is given again in a minute, without another run', async () => {
  await using bench = await setUp('sed "s/ REQUEST//"')
  const first = await bench.issuer.issue(request, within())
  await bench.issuer.received(request, postponed)
  const again = bench.issuer.issue(request, within())
  await bench.clock.waiting(60_000)
  await bench.clock.advance(60_000)
  assert.equal(await again, first)
  assert.equal(await bench.count(), 1)
})

test('an abort in the middle of a run ends the program, and the next wait does not run it at once', async () => {
  await using bench = await setUp('[ -e "$runs.go" ] || exec sleep 60; sed "s/ REQUEST//"')
  const stop = new AbortController()
  const issued = bench.issuer.issue(request, stop.signal)
  await bench.clock.waiting(5_000)
  stop.abort()
  await assert.rejects(issued)
  await writeFile(join(bench.path, 'runs.go'), '')
  const again = bench.issuer.issue(request, within())
  await bench.clock.waiting(5_000)
  await bench.clock.advance(5_000)
  assert.equal(await again, certificatePem)
})
