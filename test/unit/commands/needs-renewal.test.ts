import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { runNeedsRenewal } from '../../../agent/commands/needs-renewal.ts'
import { checkChain } from '../../../agent/pki/chain.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound } from '../credential/fixture.ts'
import { makeCommandBench } from './credential-bench.ts'

const DAY = 86_400_000
const authorities = await makeTemporaryFolder()
after(() => authorities[Symbol.asyncDispose]())
const issuer = await makeTestIssuer(authorities.path)
const renewal = { enabled: true, fraction: 0.7, spread: 0, floorMs: 3_600_000 }

/** A device whose certificate is of a hundred days, of which some are left. */
async function setUp(leftDays: number | undefined) {
  const bench = await makeCommandBench()
  const options = { ...bench.settings, renewal, json: false }
  if (leftDays !== undefined) {
    const vault = await openSound(options.stateDir, bench.clock)
    const request = await vault.request(options)
    const notBefore = new Date(bench.clock.now())
    const notAfter = new Date(bench.clock.now() + 100 * DAY)
    const pem = await issuer.chainFor(request, { notBefore, notAfter })
    const verdict = checkChain({ pem, ...request, nowMs: bench.clock.now() + 1000 })
    assert.ok(verdict.ok)
    await vault.accept(verdict.value, 'folder')
    await bench.clock.advance((100 - leftDays) * DAY)
  }
  return { bench, options }
}

for (const [leftDays, exit, says] of [
  [60, 1, /^not yet: to be renewed from \S+ on \(the agent does that by itself\); valid until /],
  [20, 0, /^yes: to be renewed since /],
  [-3, 0, /^yes: it expired on /],
  [undefined, 2, /^no certificate: iot-device-agent csr$/m],
] as const) {
  test(`with ${leftDays ?? 'no'} days left of a hundred it ends with ${exit} and says so`, async () => {
    const { bench, options } = await setUp(leftDays)
    await using _bench = bench
    assert.equal(await runNeedsRenewal(options, bench.environment), exit)
    assert.match(bench.printed().stdout, says)
    assert.equal(bench.printed().stderr, '')
  })
}

test('in JSON it says when, and who renews', async () => {
  const { bench, options } = await setUp(60)
  await using _bench = bench
  const off = { ...options, json: true, renewal: { ...renewal, enabled: false } }
  assert.equal(await runNeedsRenewal(off, bench.environment), 1)
  const said = JSON.parse(bench.printed().stdout) as Readonly<Record<string, unknown>>
  assert.deepEqual([said['needsRenewal'], said['state'], said['renewedBy']], [false, 'notYet', 'owner'])
  // Of a hundred days sixty are left: thirty from now seventy are over.
  const inDays = (Date.parse(String(said['renewAt'])) - bench.clock.now()) / DAY
  assert.ok(Math.abs(inDays - 30) < 0.001, `${inDays}`)
})

test('a pair of files is judged, and its owner is the one to renew it', async () => {
  const { bench, options } = await setUp(undefined)
  await using _bench = bench
  const broken = join(bench.path, 'pair.pem')
  await writeFile(broken, 'x')
  const pair = { certificateFile: broken, keyFile: broken }
  assert.equal(await runNeedsRenewal({ ...options, pair }, bench.environment), 2)
  assert.match(bench.printed().stderr, /pair\.pem/)
})
