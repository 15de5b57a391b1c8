import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { chmod, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { runCsr } from '../../../agent/commands/csr.ts'
import { Failure } from '../../../agent/failure.ts'
import { makeTemporaryFolder, openssl } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound } from '../credential/fixture.ts'
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
  const vault = await openSound(bench.settings.stateDir, bench.clock)
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

const pair = { certificateFile: '/etc/iot-certs/edge-0042.pem', keyFile: '/etc/iot-certs/edge-0042.key' }

test('beside a pair of files the request is made all the same, and nobody is sent to a folder that nobody looks into', async () => {
  await using bench = await makeCommandBench()
  assert.equal(await runCsr({ ...bench.settings, pair }, bench.environment), 0)
  const { stdout, stderr } = bench.printed()
  const vault = await openSound(bench.settings.stateDir, bench.clock)
  assert.equal((await vault.pending())?.csrPem, stdout)
  assert.match(stderr, /goes on with \/etc\/iot-certs\/edge-0042\.pem/)
  assert.match(stderr, /install-certificate/)
  assert.ok(!stderr.includes(bench.settings.issuedDir))
})

test('a good certificate of the vault that is out of use because of a pair is said to be', async () => {
  await using bench = await makeCommandBench()
  const vault = await openSound(bench.settings.stateDir, bench.clock)
  await vault.accept(await issuer.checkedFor(await vault.request(bench.settings)))
  assert.equal(await runCsr({ ...bench.settings, pair }, bench.environment), 1)
  assert.match(
    bench.printed().stderr,
    /^CERTIFICATE_STILL_GOOD: .*comes into use when \/etc\/iot-certs\/edge-0042\.pem is no longer configured/,
  )
})

test('what was torn and is made anew is told', async () => {
  await using bench = await makeCommandBench()
  const { keyFile } = await (await openSound(bench.settings.stateDir, bench.clock)).request(bench.settings)
  await writeFile(keyFile, 'half a key')
  assert.equal(await runCsr(bench.settings, bench.environment), 0)
  assert.match(bench.printed().stderr, /^STATE_TORN: .*pending.*\n {2}\S/)
})

test('a device gets another key in the way that KEY_EXPOSED advises', async () => {
  await using bench = await makeCommandBench()
  const { settings } = bench
  const vault = await openSound(settings.stateDir, bench.clock)
  const first = await vault.accept(await issuer.checkedFor(await vault.request(settings)))
  assert.match(new Failure('KEY_EXPOSED', 'x').advice, /move the folder credentials out of its state folder/)
  await rename(join(settings.stateDir, 'credentials'), join(bench.path, 'credentials'))
  assert.equal(await runCsr(settings, bench.environment), 0)
  const request = await (await openSound(settings.stateDir, bench.clock)).pending()
  assert.equal(request?.publicKey.equals(createPublicKey(first.keyPem)), false)
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
