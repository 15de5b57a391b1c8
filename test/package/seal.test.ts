/** `iot-device-agent seal`: what makes a system one certain device is found, and taken out. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, copyFile, link, lstat, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeTemporaryFolder, openssl } from '../kit/openssl.ts'

const SEAL = fileURLToPath(new URL('../../packaging/seal.sh', import.meta.url))
const MACHINE_ID = 'd2f1c0a9b8e74f6f9d3b2a1c0e5f4a3b\n'
const STATE = '/var/lib/iot-device-agent'
const DROP_IN = '/etc/systemd/system/iot-device-agent.service.d/device.conf'

const keyPem = await openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'])

interface Answer {
  readonly code: number
  readonly findings: readonly string[]
  readonly stderr: string
}

const BUSYBOX = '/bin/busybox'
const needsRoot = process.getuid?.() !== 0 && 'needs root'
const needsBusybox = !existsSync(BUSYBOX) && 'needs busybox-static'

function answerOf(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127
      resolve({ code, findings: stdout.split('\n').filter((line) => line !== ''), stderr })
    })
  })
}

interface System extends AsyncDisposable {
  readonly root: string
  put(path: string, content: string): Promise<void>
  has(path: string): Promise<boolean>
  seal(...args: readonly string[]): Promise<Answer>
  check(): Promise<Answer>
}

/** A system without identity: an empty machine-id, the package's unit, a configuration whose ID is a template. */
async function makeSystem(): Promise<System> {
  const folder = await makeTemporaryFolder()
  const root = join(folder.path, 'root')
  const put = async (path: string, content: string) => {
    await mkdir(dirname(root + path), { recursive: true })
    await writeFile(root + path, content)
  }
  await put('/etc/machine-id', '')
  await put('/usr/lib/systemd/system/iot-device-agent.service', '[Service]\nLoadCredential=claim\n')
  await put('/etc/iot-device-agent/config.toml', '[device]\nregistrationId = "press-{serial}" # of this line\n')
  const seal = (...args: readonly string[]) => answerOf('sh', [SEAL, '--root', root, ...args])
  return {
    root,
    put,
    seal,
    check: () => seal('--check'),
    has: (path) =>
      lstat(root + path).then(
        () => true,
        () => false,
      ),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

/** Everything that may make a system one certain device: where, what, and the finding that says so. */
const identities = [
  [`${STATE}/credentials/gen-0001/key.pem`, keyPem, 'KEY'],
  [`${STATE}/credentials/pending/key.pem`, keyPem, 'KEY'],
  [`${STATE}/credentials/gen-0001/chain.pem`, '-----BEGIN CERTIFICATE-----\n', 'CERTIFICATE'],
  [`${STATE}/credentials/gen-0001/request.csr`, '-----BEGIN CERTIFICATE REQUEST-----\n', 'REQUEST'],
  [`${STATE}/assignment.json`, '{}', 'ASSIGNMENT'],
  [`${STATE}/assignment-sas.json`, '{}', 'ASSIGNMENT'],
  [`${STATE}/outbox.db`, 'SQLite', 'SAMPLES'],
  [`${STATE}/outbox.db-wal`, '', 'SAMPLES'],
  [`${STATE}/audit.ndjson`, '{}', 'STATE'],
  ['/var/lib/iot-device-agent-key/encryption-key', 'sealed', 'STATE'],
  ['/etc/iot-device-agent/secrets/sas.key', 'c2VjcmV0', 'SECRET'],
  ['/etc/credstore/claim', 'token', 'SECRET'],
  ['/etc/credstore.encrypted/iot-device-agent.sas', 'token', 'SECRET'],
  ['/var/lib/systemd/credential.secret', 'secret', 'SECRET'],
  ['/var/lib/systemd/random-seed', 'seed', 'RANDOM-SEED'],
  ['/var/lib/dbus/machine-id', MACHINE_ID, 'MACHINE-ID'],
  ['/etc/machine-id', MACHINE_ID, 'MACHINE-ID'],
] as const

/** What somebody else put there: told, and left to its owner. */
const foreign = [
  ['/etc/iot-certs/press-07.key', keyPem, 'KEY', ''],
  ['/opt/iot-agent/device.key', keyPem, 'KEY', ''],
  ['/root/.ssh/id_ecdsa', keyPem, 'KEY', ''],
  ['/home/pi/backup/press-07.p12', 'DER', 'KEY', ''],
  ['/etc/iot-device-agent/config.d/20-device.toml', '\ndevice.registrationId = "press-07"\n', 'DEVICE-ID', ':2'],
  [DROP_IN, '[Service]\nEnvironment=A=1 "DEVICE_ID=press-07"\n', 'DEVICE-ID', ':2'],
  [DROP_IN, '[Service]\nSetCredential=claim:abc\n', 'SECRET', ':2'],
  ['/etc/default/iot-device-agent', 'DEVICE_ID=press-07\n', 'DEVICE-ID', ':1'],
  ['/opt/iot-agent/agent.env', 'C=HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0c2VjcmV0\n', 'SECRET', ':1'],
] as const

describe('seal --check', { concurrency: true }, () => {
  test('finds nothing in a system without identity', async () => {
    await using system = await makeSystem()
    assert.deepEqual(await system.check(), { code: 0, findings: [], stderr: '' })
  })

  for (const [path, content, kind, line = ''] of [...identities, ...foreign]) {
    test(`finds ${kind} in ${path}, and changes nothing`, async () => {
      await using system = await makeSystem()
      await system.put(path, content)
      const { code, findings } = await system.check()
      assert.deepEqual({ code, findings }, { code: 1, findings: [`${kind} ${path}${line}`] })
      assert.equal(await readFile(system.root + path, 'utf8'), content)
    })
  }

  test('finds a pair of the Python client by its key, and takes no authority for one', async () => {
    await using system = await makeSystem()
    await system.put('/etc/iot-certs/root-ca.pem', '-----BEGIN CERTIFICATE-----\n')
    assert.equal((await system.check()).code, 0)
    await system.put('/etc/iot-certs/press-07.pem', '-----BEGIN CERTIFICATE-----\n')
    await system.put('/etc/iot-certs/press-07.key', keyPem)
    assert.deepEqual((await system.check()).findings, [
      'CERTIFICATE /etc/iot-certs/press-07.pem',
      'KEY /etc/iot-certs/press-07.key',
    ])
  })

  test('finds what the configuration keeps in another place', async () => {
    await using system = await makeSystem()
    await system.put(
      '/etc/iot-device-agent/config.d/10.toml',
      '[paths]\nstateDir = "/data/agent"\n[auth.sas]\nkeyFile = "/data/sas"\n',
    )
    await system.put(DROP_IN, '[Service]\nEnvironmentFile=-/data/agent.env\n')
    await system.put('/data/agent.env', 'DEVICE_ID=press-07\n')
    await system.put('/data/agent/credentials/gen-0001/key.pem', keyPem)
    await system.put('/data/sas', 'c2VjcmV0')
    assert.deepEqual((await system.check()).findings, [
      'DEVICE-ID /data/agent.env:1',
      'KEY /data/agent/credentials/gen-0001/key.pem',
      'KEY /data/sas',
    ])
  })

  test('takes a name that is filled in on the device for none', async () => {
    await using system = await makeSystem()
    await system.put(DROP_IN, '[Service]\n# Environment=DEVICE_ID=press-07\nEnvironment=DEVICE_ID=%H\n')
    await system.put(
      '/etc/iot-device-agent/config.d/1.toml',
      "# registrationId = 'a'\ndevice = { registrationId = '{hostname}' }\n",
    )
    assert.equal((await system.check()).code, 0)
  })

  test('takes "uninitialized" and a machine-id that is not there for none', async () => {
    await using system = await makeSystem()
    await system.put('/etc/machine-id', 'uninitialized\n')
    assert.equal((await system.check()).code, 0)
    await rm(`${system.root}/etc/machine-id`)
    assert.equal((await system.check()).code, 0)
  })

  test('only remarks on a host key of SSH, which belongs to somebody else', async () => {
    await using system = await makeSystem()
    await system.put('/etc/ssh/ssh_host_ecdsa_key', keyPem)
    const { code, stderr } = await system.check()
    assert.equal(code, 0)
    assert.match(stderr, /^remark: \/etc\/ssh\/ssh_host_ecdsa_key: /)
  })

  test('never prints a secret', async () => {
    await using system = await makeSystem()
    for (const [path, content] of [...identities, ...foreign]) await system.put(path, content)
    const { findings, stderr } = await system.check()
    assert.doesNotMatch(findings.join('\n') + stderr, /c2VjcmV0|abc|PRIVATE KEY|d2f1c0a9/)
  })

  test('is not misled by a name with a line break', async () => {
    await using system = await makeSystem()
    await system.put(`${STATE}/a\nb`, keyPem)
    assert.deepEqual((await system.check()).findings, [`KEY ${STATE}/a?b`])
  })

  test('says that it could not look, rather than that all is well', { skip: needsRoot }, async () => {
    await using system = await makeSystem()
    await system.put('/home/pi/key', keyPem)
    await chmod(`${system.root}/home/pi`, 0o700)
    for (const folder of ['..', '.']) await chmod(join(system.root, folder), 0o755)
    const seal = join(system.root, '../seal')
    await copyFile(SEAL, seal)
    const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', seal, '--check', '--root', system.root]
    const { code, findings } = await answerOf('setpriv', asNobody)
    assert.deepEqual({ code, findings }, { code: 1, findings: ['UNREADABLE /home'] })
  })
})

describe('seal', { concurrency: true }, () => {
  test('takes all out that is its own, and is then content', async () => {
    await using system = await makeSystem()
    for (const [path, content] of identities) await system.put(path, content)
    assert.deepEqual(await system.seal(), { code: 0, findings: [], stderr: '' })
    assert.deepEqual(await readdir(system.root + STATE), [])
    const kept = await Promise.all(identities.map(async ([path]) => ((await system.has(path)) ? path : '')))
    assert.deepEqual(kept.filter(Boolean), ['/etc/machine-id'])
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), '')
    assert.equal((await lstat(`${system.root}/etc/machine-id`)).mode & 0o777, 0o444)
  })

  test("leaves what is somebody else's, and says with exit code 1 that it is there", async () => {
    await using system = await makeSystem()
    for (const [path, content] of foreign) await system.put(path, content)
    await system.put('/etc/credstore/wifi', 'secret')
    assert.equal((await system.seal()).code, 1)
    for (const [path] of foreign) assert.ok(await system.has(path), path)
    assert.ok(await system.has('/etc/credstore/wifi'))
  })

  test('leaves "uninitialized" to whoever wants a first boot, and D-Bus its link', async () => {
    await using system = await makeSystem()
    await system.put('/etc/machine-id', 'uninitialized\n')
    await mkdir(`${system.root}/var/lib/dbus`, { recursive: true })
    await symlink('/etc/machine-id', `${system.root}/var/lib/dbus/machine-id`)
    assert.equal((await system.seal()).code, 0)
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), 'uninitialized\n')
    assert.ok(await system.has('/var/lib/dbus/machine-id'))
  })

  test('makes an empty machine-id where there is none, so that it can be mounted over', async () => {
    await using system = await makeSystem()
    await rm(`${system.root}/etc/machine-id`)
    await system.seal()
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), '')
  })

  test('no link leads it out of the system', async () => {
    await using system = await makeSystem()
    const outside = join(system.root, '../outside')
    await mkdir(outside)
    await writeFile(join(outside, 'key.pem'), keyPem)
    await mkdir(`${system.root}/var/lib`, { recursive: true })
    await symlink(outside, system.root + STATE)
    await symlink('../../../outside', `${system.root}/etc/iot-device-agent/secrets`)
    await rm(`${system.root}/etc/machine-id`)
    await symlink(join(outside, 'key.pem'), `${system.root}/etc/machine-id`)
    await system.seal()
    assert.equal(await readFile(join(outside, 'key.pem'), 'utf8'), keyPem)
  })

  test('a link in the state folder is removed and not followed', async () => {
    await using system = await makeSystem()
    await system.put('/srv/shared/key.pem', keyPem)
    await mkdir(system.root + STATE, { recursive: true })
    await symlink('/srv/shared', `${system.root}${STATE}/credentials`)
    await symlink(`${system.root}/srv/shared`, `${system.root}${STATE}/issued`)
    await system.seal()
    assert.deepEqual(await readdir(system.root + STATE), [])
    assert.equal(await readFile(`${system.root}/srv/shared/key.pem`, 'utf8'), keyPem)
  })

  test('state on another partition is found by the link as the device sees it', async () => {
    await using system = await makeSystem()
    await system.put('/data/agent/credentials/gen-0001/key.pem', keyPem)
    await mkdir(`${system.root}/var/lib`, { recursive: true })
    await symlink('/data/agent', system.root + STATE)
    assert.deepEqual((await system.check()).findings, ['KEY /data/agent/credentials/gen-0001/key.pem'])
    assert.equal((await system.seal()).code, 0)
    assert.deepEqual(await readdir(`${system.root}/data/agent`), [])
  })

  test('keys are overwritten before their names go', async () => {
    await using system = await makeSystem()
    await system.put(`${STATE}/credentials/gen-0001/key.pem`, keyPem)
    await link(`${system.root}${STATE}/credentials/gen-0001/key.pem`, join(system.root, '../witness'))
    await system.seal()
    assert.doesNotMatch(await readFile(join(system.root, '../witness'), 'utf8'), /PRIVATE/)
  })

  test('works with the tools of busybox alone', { skip: needsBusybox }, async () => {
    await using system = await makeSystem()
    for (const [path, content] of [...identities, ...foreign]) await system.put(path, content)
    const expected = await system.check()
    const bin = join(system.root, '../bin')
    await mkdir(bin)
    assert.equal((await answerOf(BUSYBOX, ['--install', '-s', bin])).code, 0)
    const under = (...args: readonly string[]) =>
      answerOf(join(bin, 'sh'), [SEAL, '--root', system.root, ...args], { PATH: bin })
    assert.deepEqual(await under('--check'), expected)
    const sealed = await under()
    assert.equal(sealed.stderr, '')
    assert.deepEqual(sealed.findings, (await system.check()).findings)
    assert.deepEqual(await readdir(system.root + STATE), [])
  })

  test('the running system is not touched without --yes', { skip: needsRoot || needsBusybox }, async () => {
    await using system = await makeSystem()
    await system.put('/etc/machine-id', MACHINE_ID)
    await mkdir(`${system.root}/bin`)
    await mkdir(`${system.root}/dev`)
    await answerOf('mknod', [`${system.root}/dev/null`, 'c', '1', '3'])
    for (const name of ['busybox', 'sh']) await copyFile(BUSYBOX, `${system.root}/bin/${name}`)
    await copyFile(SEAL, `${system.root}/etc/seal`)
    const within = (...args: readonly string[]) => answerOf('chroot', [system.root, '/bin/sh', ...args])
    await within('-c', '/bin/busybox --install -s /bin')
    const asked = await within('/etc/seal')
    assert.deepEqual([asked.code, asked.findings], [1, ['MACHINE-ID /etc/machine-id']])
    assert.match(asked.stderr, /nothing was changed/)
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), MACHINE_ID)
    assert.deepEqual(await within('/etc/seal', '--yes'), { code: 0, findings: [], stderr: '' })
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), '')
  })

  test('what it does not understand it says with exit code 2, and does nothing', async () => {
    await using system = await makeSystem()
    await system.put('/etc/machine-id', MACHINE_ID)
    for (const args of [['--chek'], ['--root'], ['--root', '/nowhere/at/all'], ['--root', `${system.root}/usr`]])
      assert.equal((await system.seal(...args)).code, 2, args.join(' '))
    assert.equal(await readFile(`${system.root}/etc/machine-id`, 'utf8'), MACHINE_ID)
  })
})
