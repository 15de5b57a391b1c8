/** The recipes for images: the package is in them, the service enabled, and nothing of one device. Nothing is fetched or booted. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, cp, mkdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import about from '../../package.json' with { type: 'json' }
import { makeTemporaryFolder, openssl } from '../kit/openssl.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))
const images = join(top, 'packaging/images')
const native = process.arch === 'arm64' ? 'arm64' : 'amd64'
const foreign = native === 'amd64' ? 'arm64' : 'amd64'

const packageFor = (arch: string) => join(top, `build/packages/iot-device-agent_${about.version}_${arch}.deb`)

/** Why it cannot be run here. */
const skip =
  (process.getuid?.() !== 0 && 'needs root') ||
  (!existsSync('/usr/bin/mmdebstrap') && 'needs mmdebstrap') ||
  ([native, foreign].some((arch) => !existsSync(packageFor(arch))) && 'needs both packages: npm run package')

/** Until an image has been built, in milliseconds; a base that is not in the cache is made first. */
const BUILD_MS = 600_000

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function answerOf(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: object } = {},
) {
  return new Promise<Answer>((resolve) => {
    const env = { ...process.env, ...options.env }
    execFile(command, args, { ...options, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 127, stdout, stderr })
    })
  })
}

async function done(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: object } = {},
) {
  const answer = await answerOf(command, args, options)
  assert.equal(answer.code, 0, `${command} ${args.join(' ')}: ${answer.stderr}${answer.stdout}`)
  return answer.stdout
}

const baseOf = async (arch: string) => (await done(join(top, 'scripts/root'), ['trixie', arch])).trim()

/** An image as a folder. */
interface Image extends AsyncDisposable {
  readonly root: string
}

async function unpacked(tar: string): Promise<Image> {
  const folder = await makeTemporaryFolder()
  const root = join(folder.path, 'root')
  await mkdir(root)
  await done('tar', ['--numeric-owner', '-C', root, '-xpf', tar])
  return { root, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

/** What every image must be. */
async function assertReady({ root }: Image): Promise<void> {
  assert.deepEqual(await answerOf('sh', [join(root, 'usr/lib/iot-device-agent/seal'), '--check', '--root', root]), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  const enabled = await readlink(join(root, 'etc/systemd/system/multi-user.target.wants/iot-device-agent.service'))
  assert.match(enabled, /^(\/usr)?\/lib\/systemd\/system\/iot-device-agent\.service$/)
  assert.equal(
    (await done('systemctl', [`--root=${root}`, 'is-enabled', 'iot-device-agent.service'])).trim(),
    'enabled',
  )
  assert.ok(!existsSync(join(root, 'var/lib/iot-device-agent')), 'the state folder is made by the first start')
  assert.ok(!existsSync(join(root, 'etc/iot-device-agent/secrets')))
  assert.equal(await readFile(join(root, 'etc/machine-id'), 'utf8'), '')
  assert.match(
    await readFile(join(root, 'var/lib/dpkg/status'), 'utf8'),
    /^Package: iot-device-agent\nStatus: install ok installed$/m,
  )
  assert.ok(existsSync(join(root, 'usr/lib/sysusers.d/iot-device-agent.conf')), 'the first boot can make the user')
  assert.match(await readFile(join(root, 'etc/passwd'), 'utf8'), /^iot-device-agent:/m)
}

const build = (arch: string, base: string, out: string) =>
  answerOf(join(images, 'mmdebstrap/build-image'), ['--base', base, out, packageFor(arch)], {
    env: { SOURCE_DATE_EPOCH: '1700000000' },
  })

describe('an image', { skip, timeout: BUILD_MS }, () => {
  let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>
  let own: string

  before(async () => {
    folder = await makeTemporaryFolder()
    own = join(folder.path, 'own.tar')
    const built = await build(native, await baseOf(native), own)
    assert.equal(built.code, 0, built.stderr)
  })
  after(() => folder[Symbol.asyncDispose]())

  test('of this processor has the service enabled, and nothing of one device', async () => {
    await using image = await unpacked(own)
    await assertReady(image)
    const version = await done('chroot', [image.root, 'iot-device-agent', 'version'])
    assert.match(version, new RegExp(`^iot-device-agent ${about.version} `))
  })

  test('of another processor is built without running anything of it', async () => {
    const out = join(folder.path, 'foreign.tar')
    // A processor that cannot be emulated: whoever tried to would fail.
    const withoutEmulation = 'mount -t tmpfs none /proc/sys/fs/binfmt_misc 2>/dev/null; exec "$@"'
    await baseOf(foreign)
    const built = await answerOf('unshare', [
      ...['-m', '--propagation', 'private', 'sh', '-c', withoutEmulation, 'sh'],
      ...[join(images, 'mmdebstrap/build-image'), '--base', await baseOf(foreign), out, packageFor(foreign)],
    ])
    assert.equal(built.code, 0, built.stderr)
    await using image = await unpacked(out)
    await assertReady(image)
    const machine = await readFile(join(image.root, 'usr/lib/iot-device-agent/lib/node')).then((elf) =>
      elf.readUInt16LE(18),
    )
    // e_machine of ELF: EM_X86_64 and EM_AARCH64.
    assert.equal(machine, { amd64: 62, arm64: 183 }[foreign])
  })

  test('is the same, bit by bit, when it is built again', async () => {
    const again = join(folder.path, 'again.tar')
    assert.equal((await build(native, await baseOf(native), again)).code, 0)
    assert.equal((await answerOf('cmp', [own, again])).stdout, '')
  })

  test('is built by the hook of mmdebstrap from what only installing systemd leaves', async () => {
    await using image = await unpacked(own)
    await writeFile(join(image.root, 'etc/machine-id'), 'd2f1c0a9b8e74f6f9d3b2a1c0e5f4a3b\n')
    await mkdir(join(image.root, 'var/lib/systemd'), { recursive: true })
    await writeFile(join(image.root, 'var/lib/systemd/random-seed'), 'seed')
    await done(join(images, 'mmdebstrap/hooks/customize95-iot-device-agent'), [image.root])
    await assertReady(image)
  })

  test('is not built with the service disabled', async () => {
    await using image = await unpacked(own)
    await rm(join(image.root, 'etc/systemd/system/multi-user.target.wants/iot-device-agent.service'))
    await mkdir(join(image.root, 'etc/systemd/system-preset'), { recursive: true })
    await writeFile(join(image.root, 'etc/systemd/system-preset/10-ours.preset'), 'disable iot-device-agent.service\n')
    const { code, stderr } = await answerOf(join(images, 'finish'), [image.root])
    assert.equal(code, 1)
    assert.match(stderr, /the service is not enabled/)
  })

  test('that was made by unpacking alone gets the service from its preset, by systemctl --root', async () => {
    await using bare = await unpacked(await baseOf(native))
    await done('dpkg-deb', ['-x', packageFor(native), bare.root])
    await done(join(images, 'finish'), [bare.root])
    const enabled = await done('systemctl', [`--root=${bare.root}`, 'is-enabled', 'iot-device-agent.service'])
    assert.equal(enabled.trim(), 'enabled')
  })

  const planted = [
    ['a key', 'var/lib/iot-device-agent/credentials/gen-0001/key.pem', 'KEY'],
    ['a key of the Python client', 'etc/iot-certs/press-07.key', 'KEY'],
    ['a certificate', 'var/lib/iot-device-agent/credentials/gen-0001/chain.pem', 'CERTIFICATE'],
    ['an assignment', 'var/lib/iot-device-agent/assignment.json', 'ASSIGNMENT'],
    ['samples', 'var/lib/iot-device-agent/outbox.db', 'SAMPLES'],
    ['a secret', 'etc/iot-device-agent/secrets/sas.key', 'SECRET'],
    ['the name of one device', 'etc/iot-device-agent/config.toml', 'DEVICE-ID'],
  ] as const

  for (const [what, path, kind] of planted)
    test(`is not built with ${what} in it`, async () => {
      await using image = await unpacked(own)
      const contents: Record<string, string> = {
        KEY: await openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']),
        CERTIFICATE: '-----BEGIN CERTIFICATE-----\n',
        'DEVICE-ID': 'device.registrationId = "press-07"\n',
      }
      await mkdir(dirname(join(image.root, path)), { recursive: true })
      await writeFile(join(image.root, path), contents[kind] ?? 'x')
      const { code, stderr } = await answerOf(join(images, 'finish'), [image.root])
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(`^${kind} /${path.replaceAll('.', '\\.')}`, 'm'))
      // Not tidied away unseen.
      assert.ok(existsSync(join(image.root, path)))
    })

  test('of a pi-gen stage has the package, the configuration, and nothing of one device', async () => {
    await using previous = await unpacked(await baseOf(foreign))
    const work = join(dirname(previous.root), 'work')
    const stage = join(work, 'stage-iot-device-agent')
    await cp(join(images, 'pi-gen/stage-iot-device-agent'), stage, { recursive: true, dereference: true })
    await copyFile(packageFor(foreign), join(stage, '00-install/files/agent.deb'))
    await writeFile(join(stage, '00-install/files/config.toml'), 'device.registrationId = "press-{serial}"\n')
    const root = join(work, 'rootfs')
    // As build.sh of pi-gen runs a stage: prerun.sh, then each NN-run.sh in the folder of its sub-stage.
    const asPiGen = `copy_previous() { cp -a "$PREVIOUS_ROOTFS_DIR" "$ROOTFS_DIR"; }; export -f copy_previous
      cd "$STAGE_DIR" && ./prerun.sh && cd 00-install && ./01-run.sh`
    const env = { ROOTFS_DIR: root, PREVIOUS_ROOTFS_DIR: previous.root, STAGE_DIR: stage }
    await done('bash', ['-ec', asPiGen], { env })
    await assertReady({ root, [Symbol.asyncDispose]: async () => {} })
    assert.equal((await stat(join(root, 'etc/iot-device-agent/config.toml'))).mode & 0o777, 0o644)
    await writeFile(join(stage, '00-install/files/config.toml'), 'device.registrationId = "press-07"\n')
    assert.equal((await answerOf('./01-run.sh', [], { cwd: join(stage, '00-install'), env })).code, 1)
  })
})

const layer = join(images, 'yocto/meta-iot-device-agent')
const lint = ['oelint-adv', ...(process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'oelint-adv'))].find(
  existsSync,
)

test(
  'the recipe for Yocto is fine by its linter',
  { skip: lint === undefined && 'needs oelint-adv, of PyPI' },
  async () => {
    const files = (await done('find', [layer, '-type', 'f', '-regex', String.raw`.*\.\(bb\|bbclass\|conf\)`]))
      .trim()
      .split('\n')
    // The web is not asked whether it has our home page.
    const { stdout, stderr } = await answerOf(lint ?? '', [
      '--quiet',
      '--suppress',
      'oelint.vars.homepageping',
      ...files,
    ])
    assert.doesNotMatch(stdout + stderr, /:(error|warning):/)
  },
)

test('the recipe for Yocto knows this version and this licence', async () => {
  const recipe = await readFile(
    join(layer, `recipes-support/iot-device-agent/iot-device-agent_${about.version}.bb`),
    'utf8',
  )
  const [sum] = (await done('md5sum', [join(top, 'LICENSE')])).split(' ')
  assert.match(recipe, new RegExp(`file://LICENSE;md5=${sum}"`))
})
