/** Dockerfile.arm64, built by buildah over bases that are made here: the agent is in the arm64 root file system, as packaged. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import about from '../../package.json' with { type: 'json' }
import { makeTemporaryFolder } from '../kit/openssl.ts'

const run = promisify(execFile)
const top = fileURLToPath(new URL('../..', import.meta.url))
const packagePath = join(top, `build/packages/iot-device-agent_${about.version}_arm64.deb`)

const skip =
  (process.getuid?.() !== 0 && 'needs root') ||
  (!existsSync('/usr/bin/buildah') && 'needs buildah') ||
  (!existsSync('/usr/bin/mmdebstrap') && 'needs mmdebstrap') ||
  (!existsSync(packagePath) && 'needs the arm64 package: npm run package')

/** EM_AARCH64 of ELF, at offset 18. */
const AARCH64 = 183

test('the layer of Dockerfile.arm64 puts the package onto an arm64 base', { skip, timeout: 600_000 }, async () => {
  await using folder = await makeTemporaryFolder()
  const [root, packaged] = [join(folder.path, 'root'), join(folder.path, 'packaged')]
  const env = { ...process.env, COMPRESSION: 'zstd' }
  await run(join(top, 'scripts/container'), ['rootfs', folder.path], { env, maxBuffer: 64 * 1024 * 1024 })
  await mkdir(root)
  await run('tar', ['--numeric-owner', '-C', root, '-xpf', join(folder.path, 'rootfs.tar')])
  await run('dpkg-deb', ['-x', packagePath, packaged])

  const bundle = 'usr/lib/iot-device-agent/lib/iot-device-agent.cjs'
  assert.ok((await readFile(join(root, bundle))).equals(await readFile(join(packaged, bundle))), 'the same program')
  const node = await readFile(join(root, 'usr/lib/iot-device-agent/lib/node'))
  assert.equal(node.readUInt16LE(18), AARCH64)
  assert.equal((await stat(join(root, 'usr/lib/iot-device-agent/iot-device-agent'))).mode & 0o777, 0o755)
  // Written by the installation, and not the world's to read.
  assert.equal((await stat(join(root, 'etc/shadow'))).mode & 0o7777, 0o640)
  assert.match(
    await readFile(join(root, 'var/lib/dpkg/status'), 'utf8'),
    /^Package: iot-device-agent\nStatus: install ok installed$/m,
  )
  await run('systemctl', [`--root=${root}`, 'is-enabled', 'iot-device-agent.service'])
  await run('sh', [join(root, 'usr/lib/iot-device-agent/seal'), '--check', '--root', root])
})
