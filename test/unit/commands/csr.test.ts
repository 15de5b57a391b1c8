import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { runCsr } from '../../../agent/commands/csr.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import { makeTemporaryFolder, openssl } from '../../kit/openssl.ts'
import { makeTestIssuer } from '../credential/fixture.ts'
import { makeCommandBench } from './credential-bench.ts'

const authorities = await makeTemporaryFolder()
after(() => authorities[Symbol.asyncDispose]())
const issuer = await makeTestIssuer(authorities.path)

test('the request goes to stdout and nothing else does; the same one every time', async () => {
  await using bench = await makeCommandBench()
  assert.equal(await runCsr(bench.settings, bench.environment), 0)
  const first = bench.printed()
  const path = join(bench.path, 'printed.csr')
  await writeFile(path, first.stdout)
  assert.equal(await openssl(['req', '-in', path]), first.stdout)
  assert.match(await openssl(['req', '-in', path, '-noout', '-subject']), /CN = edge-0042\n/)
  assert.match(first.stderr, /install-certificate/)
  assert.equal(await runCsr(bench.settings, bench.environment), 0)
  assert.equal(bench.printed().stdout, first.stdout)
  assert.deepEqual(bench.became, [bench.settings.stateDir, bench.settings.stateDir])
})

test('no part of the key is printed', async () => {
  await using bench = await makeCommandBench()
  await runCsr(bench.settings, bench.environment)
  const { stdout, stderr } = bench.printed()
  const key = await readFile(join(bench.settings.stateDir, 'credentials', 'pending', 'key.pem'), 'utf8')
  for (const line of key.split('\n').filter((each) => each !== '')) assert.ok(!(stdout + stderr).includes(line), line)
})

test('--out writes the request to a file that was opened before the command became another user', async () => {
  await using bench = await makeCommandBench()
  const out = join(bench.path, 'out.csr')
  await writeFile(out, 'x'.repeat(10_000))
  const seen: string[] = []
  const actAsOwner = async () => {
    seen.push(await readFile(out, 'utf8'))
    await chmod(out, 0o600)
    return true
  }
  assert.equal(await runCsr({ ...bench.settings, out }, { ...bench.environment, actAsOwner }), 0)
  assert.equal(bench.printed().stdout, '')
  assert.equal(await openssl(['req', '-in', out]), await readFile(out, 'utf8'))
  assert.deepEqual(seen, ['x'.repeat(10_000)], 'what was there goes only when there is something to put in its place')
})

test('while a valid certificate is in use there is nothing to request; once it has expired there is', async () => {
  await using bench = await makeCommandBench()
  const vault = await openVault(bench.settings.stateDir, bench.clock)
  await vault.accept(await issuer.checkedFor(await vault.request(bench.settings)))
  assert.equal(await runCsr(bench.settings, bench.environment), 1)
  const { stdout, stderr } = bench.printed()
  assert.equal(stdout, '')
  assert.match(stderr, /^CERTIFICATE_STILL_GOOD: /)
  assert.equal(await vault.pending(), undefined)
  bench.clock.stepWall(91 * 86_400_000)
  assert.equal(await runCsr(bench.settings, bench.environment), 0)
  assert.notEqual(await vault.pending(), undefined)
})

test('what goes wrong is printed with its code and advice and gives 1', async () => {
  await using bench = await makeCommandBench()
  const out = join(bench.path, 'nowhere', 'out.csr')
  assert.equal(await runCsr({ ...bench.settings, out }, bench.environment), 1)
  assert.match(bench.printed().stderr, /^OUTPUT_UNWRITABLE: .*ENOENT\n {2}\S/)
  await runCsr(bench.settings, bench.environment)
  await chmod(join(bench.settings.stateDir, 'credentials'), 0o755)
  assert.equal(await runCsr(bench.settings, bench.environment), 1)
  assert.match(bench.printed().stderr, /KEY_EXPOSED: .*chmod 700/)
})
