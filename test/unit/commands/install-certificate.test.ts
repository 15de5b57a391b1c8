import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { runInstallCertificate } from '../../../agent/commands/install-certificate.ts'
import { openJournal } from '../../../agent/credential/journal.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import { obtainCertificate } from '../../../agent/credential/obtain.ts'
import { createFolderIssuer } from '../../../agent/issue/folder.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound } from '../credential/fixture.ts'
import { makeCommandBench } from './credential-bench.ts'

const authorities = await makeTemporaryFolder()
after(() => authorities[Symbol.asyncDispose]())
const issuer = await makeTestIssuer(authorities.path)

test('a good chain is laid down where the agent waits, and the agent takes it into use', async () => {
  await using bench = await makeCommandBench()
  const { settings, clock } = bench
  const vault = await openSound(settings.stateDir, clock)
  const request = await vault.request(settings)
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, await issuer.chainFor(request))
  assert.equal(await runInstallCertificate({ ...settings, file }, bench.environment), 0)
  const { stdout, stderr } = bench.printed()
  assert.equal(stderr, '')
  const source = createFolderIssuer({ ...settings, clock, warn: (failure) => assert.fail(failure) })
  const obtained = obtainCertificate(
    settings,
    { vault, source, clock, report: () => undefined },
    AbortSignal.timeout(20_000),
  )
  await clock.waiting()
  await clock.advance(1000)
  assert.ok(stdout.includes((await obtained).facts.thumbprintSha256))
})

const pair = { certificateFile: '/etc/iot-certs/edge-0042.pem', keyFile: '/etc/iot-certs/edge-0042.key' }

test('beside a pair of files, for which no agent waits, the chain goes into the vault, ready for when the pair goes', async () => {
  await using bench = await makeCommandBench()
  const settings = { ...bench.settings, pair }
  const vault = await openSound(settings.stateDir, bench.clock)
  const request = await vault.request(settings)
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, await issuer.chainFor(request))
  assert.equal(await runInstallCertificate({ ...settings, file }, bench.environment), 0)
  const { stdout, stderr } = bench.printed()
  assert.equal(stderr, '')
  const credential = await (await openSound(settings.stateDir, bench.clock)).active()
  assert.equal(credential?.facts.commonName, settings.registrationId)
  assert.ok(stdout.includes(credential.facts.thumbprintSha256))
  assert.ok(stdout.includes(join(settings.stateDir, 'credentials', 'gen-0001')))
  assert.match(stdout, /not in use yet: the agent goes on with \/etc\/iot-certs\/edge-0042\.pem/)
  assert.match(stdout, /CERT_PATH.*[^]*move .*edge-0042\.key away[^]*systemctl restart iot-device-agent/)
  assert.doesNotMatch(stdout, /within seconds/)
  await assert.rejects(readdir(settings.issuedDir), { code: 'ENOENT' })
})

test('beside a pair of files whose renewal is under way, the chain is laid where that waits', async () => {
  await using bench = await makeCommandBench()
  const settings = { ...bench.settings, pair }
  const vault = await openSound(settings.stateDir, bench.clock)
  const chain = await issuer.chainFor(await vault.request(settings))
  const active = { lane: 'x509', generation: 'files' } as const
  const move = { to: 'x509', fresh: true, cause: 'command', atMs: bench.clock.now() } as const
  const journal = openJournal(settings.stateDir, bench.clock, (failure) => assert.fail(failure))
  await journal.save({ version: 1, lifecycle: { phase: 'preparing', active, move }, memory: emptyMemory })
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, chain)
  assert.equal(await runInstallCertificate({ ...settings, file }, bench.environment), 0)
  assert.match(bench.printed().stdout, /within seconds/)
  assert.deepEqual(await readdir(settings.issuedDir), [`${settings.registrationId}.pem`])
  assert.equal(await vault.active(), undefined, 'the agent itself decides when it comes into use')
})

test('beside a pair of files a wrong chain is refused as ever', async () => {
  await using bench = await makeCommandBench()
  const settings = { ...bench.settings, pair }
  const vault = await openSound(settings.stateDir, bench.clock)
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, await issuer.chainFor(await vault.request(settings), { subject: '/CN=other' }))
  assert.equal(await runInstallCertificate({ ...settings, file }, bench.environment), 1)
  assert.match(bench.printed().stderr, /^CHAIN_NAME_MISMATCH: /)
  assert.equal(await vault.active(), undefined)
})

test('every problem is printed with code and advice, and nothing is installed', async () => {
  await using bench = await makeCommandBench()
  const { settings } = bench
  const vault = await openSound(settings.stateDir, bench.clock)
  const request = await vault.request(settings)
  const file = join(bench.path, 'chain.pem')
  const profile = { subject: '/CN=other', extensions: 'extendedKeyUsage = serverAuth' }
  await writeFile(file, await issuer.chainFor(request, profile))
  assert.equal(await runInstallCertificate({ ...settings, file }, bench.environment), 1)
  const { stdout, stderr } = bench.printed()
  assert.equal(stdout, '')
  const lines = stderr.trimEnd().split('\n')
  assert.deepEqual(
    lines.filter((_, index) => index % 2 === 0).map((line) => line.replace(/:.*/, '')),
    ['CHAIN_NAME_MISMATCH', 'CHAIN_NO_CLIENT_AUTH'],
  )
  for (const advice of lines.filter((_, index) => index % 2 === 1)) assert.match(advice, /^ {2}\S/)
  await assert.rejects(readdir(settings.issuedDir), { code: 'ENOENT' })
})

test('a chain for the key of another device is refused', async () => {
  await using bench = await makeCommandBench()
  await using other = await makeCommandBench()
  await (await openSound(bench.settings.stateDir, bench.clock)).request(bench.settings)
  const stranger = await (await openSound(other.settings.stateDir, other.clock)).request(other.settings)
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, await issuer.chainFor(stranger))
  assert.equal(await runInstallCertificate({ ...bench.settings, file }, bench.environment), 1)
  assert.match(bench.printed().stderr, /^CHAIN_KEY_MISMATCH: /)
})

test('"-" reads the chain from stdin', async () => {
  await using state = await makeCommandBench()
  const request = await (await openSound(state.settings.stateDir, state.clock)).request(state.settings)
  const chain = await issuer.chainFor(request)
  await using bench = await makeCommandBench([chain.slice(0, 500), chain.slice(500)])
  assert.equal(await runInstallCertificate({ ...state.settings, file: '-' }, bench.environment), 0)
  assert.equal(await readFile(join(state.settings.issuedDir, 'edge-0042.pem'), 'utf8'), chain)
})

test('the file is read before the command becomes another user', async () => {
  await using bench = await makeCommandBench()
  const request = await (await openSound(bench.settings.stateDir, bench.clock)).request(bench.settings)
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, await issuer.chainFor(request))
  const actAsOwner = async () => {
    await rm(file)
    return true
  }
  assert.equal(await runInstallCertificate({ ...bench.settings, file }, { ...bench.environment, actAsOwner }), 0)
})

test('without an open request, or with one for another registration ID, nothing is taken', async () => {
  await using bench = await makeCommandBench()
  const file = join(bench.path, 'chain.pem')
  await writeFile(file, 'junk')
  const install = () => runInstallCertificate({ ...bench.settings, file }, bench.environment)
  assert.equal(await install(), 1)
  assert.match(bench.printed().stderr, /^NO_PENDING_REQUEST: /)
  const vault = await openSound(bench.settings.stateDir, bench.clock)
  await vault.request({ ...bench.settings, registrationId: 'edge-0043' })
  assert.equal(await install(), 1)
  assert.match(bench.printed().stderr, /^NO_PENDING_REQUEST: /)
})

test('a missing file and one without end are refused', async () => {
  await using bench = await makeCommandBench()
  await (await openSound(bench.settings.stateDir, bench.clock)).request(bench.settings)
  const install = (file: string) => runInstallCertificate({ ...bench.settings, file }, bench.environment)
  assert.equal(await install(join(bench.path, 'none.pem')), 1)
  assert.match(bench.printed().stderr, /^CHAIN_UNREADABLE: .*ENOENT/)
  assert.equal(await install('/dev/zero'), 1)
  assert.match(bench.printed().stderr, /^CHAIN_TOO_LARGE: /)
})
