import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import {
  currentIdentity,
  exposureInVault,
  exposureOfKeyFile,
  exposureOfKeyFolder,
  inspectKey,
} from '../../../agent/credential/private-file.ts'
import type { Ownership } from '../../../agent/credential/private-file.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const agent = { uid: 990, gid: 991 }
const owned = (mode: number, uid = 990, gid = 991): Ownership => ({ mode: 0o100000 | mode, uid, gid })

test('in the vault only the agent itself may have any right', () => {
  const table: [Ownership, string | undefined][] = [
    [owned(0o600), undefined],
    [owned(0o400), undefined],
    [owned(0o700), undefined],
    [owned(0o600, 990, 0), undefined],
    [owned(0o640), 'chmod 600 /k'],
    [owned(0o604), 'chmod 600 /k'],
    [owned(0o602), 'chmod 600 /k'],
    [owned(0o711), 'chmod 700 /k'],
    [owned(0o444), 'chmod 400 /k'],
    [owned(0o600, 0), 'chown 990:991 /k'],
    [owned(0o600, 1000), 'chown 990:991 /k'],
    [owned(0o644, 1000), 'chown 990:991 /k && chmod 600 /k'],
  ]
  for (const [found, remedy] of table) assert.equal(exposureInVault('/k', found, agent), remedy)
})

test('a key file of an administrator may also be root’s and readable by the agent’s own group', () => {
  const table: [Ownership, string | undefined][] = [
    [owned(0o600), undefined],
    [owned(0o640), undefined],
    [owned(0o640, 0), undefined],
    [owned(0o440, 0), undefined],
    [owned(0o640, 0, 50), 'chown root:991 /k && chmod 640 /k'],
    [owned(0o640, 990, 50), 'chmod 600 /k'],
    [owned(0o660), 'chmod 600 /k'],
    [owned(0o644), 'chmod 600 /k'],
    [owned(0o644, 0), 'chown root:991 /k && chmod 640 /k'],
    [owned(0o604, 0), 'chown root:991 /k && chmod 640 /k'],
    [owned(0o600, 1000), 'chown 990:991 /k && chmod 600 /k'],
  ]
  for (const [found, remedy] of table) assert.equal(exposureOfKeyFile('/k', found, agent), remedy)
})

test('a folder into which everybody may write exposes the key in it, unless it is sticky', () => {
  assert.equal(exposureOfKeyFolder('/d', owned(0o755)), undefined)
  assert.equal(exposureOfKeyFolder('/d', owned(0o1777)), undefined)
  assert.equal(exposureOfKeyFolder('/d', owned(0o777)), 'chmod o-w /d')
})

test('after the remedy has been typed, there is nothing left to mend', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'key.pem')
  await writeFile(path, 'key')
  for (const mode of [0o777, 0o644, 0o604, 0o460]) {
    await chmod(path, mode)
    for (const judge of [exposureInVault, exposureOfKeyFile]) {
      await chmod(path, mode)
      const remedy = judge(path, await stat(path), currentIdentity())
      assert.notEqual(remedy, undefined)
      await promisify(execFile)('sh', ['-c', remedy ?? ''])
      assert.equal(judge(path, await stat(path), currentIdentity()), undefined, remedy)
    }
  }
})

test('a key of the vault that is opened to others while it is in use is seen, with what mends it', async () => {
  await using folder = await makeTemporaryFolder()
  const [vault, generation] = [join(folder.path, 'credentials'), join(folder.path, 'credentials', 'gen-0001')]
  const keyFile = join(generation, 'key.pem')
  await mkdir(generation, { recursive: true, mode: 0o700 })
  await writeFile(keyFile, 'key', { mode: 0o600 })
  const inspect = () => inspectKey({ origin: 'vault', keyFile })
  assert.deepEqual(await inspect(), { mode: 0o600, remedy: undefined })
  await chmod(keyFile, 0o644)
  await chmod(generation, 0o755)
  await chmod(vault, 0o711)
  const exposed = await inspect()
  assert.deepEqual(exposed, {
    mode: 0o644,
    remedy: `chmod 600 ${keyFile} && chmod 700 ${generation} && chmod 700 ${vault}`,
  })
  await promisify(execFile)('sh', ['-c', exposed.remedy ?? ''])
  assert.deepEqual(await inspect(), { mode: 0o600, remedy: undefined })
})

test('a key of an administrator is judged as at the start: through links, with its folder', async () => {
  await using folder = await makeTemporaryFolder()
  const certificates = join(folder.path, 'certificates')
  const [keyFile, link] = [join(certificates, 'key.pem'), join(folder.path, 'link.pem')]
  await mkdir(certificates)
  await writeFile(keyFile, 'key')
  await symlink(keyFile, link)
  await chmod(keyFile, 0o640)
  assert.deepEqual(
    await inspectKey({ origin: 'files', keyFile }),
    { mode: 0o640, remedy: undefined },
    'the group is the agent’s own',
  )
  await chmod(keyFile, 0o644)
  assert.deepEqual(await inspectKey({ origin: 'files', keyFile: link }), { mode: 0o644, remedy: `chmod 600 ${link}` })
  await chmod(keyFile, 0o600)
  await chmod(certificates, 0o777)
  assert.deepEqual(await inspectKey({ origin: 'files', keyFile }), { mode: 0o600, remedy: `chmod o-w ${certificates}` })
})

test('a key that has gone, or a link in its place, is no key that can be looked at', async () => {
  await using folder = await makeTemporaryFolder()
  const keyFile = join(folder.path, 'key.pem')
  await writeFile(join(folder.path, 'other.pem'), 'key')
  await symlink(join(folder.path, 'other.pem'), keyFile)
  await assert.rejects(inspectKey({ origin: 'vault', keyFile }), { code: 'KEY_UNREADABLE' })
  await rm(keyFile)
  for (const origin of ['vault', 'files'] as const) {
    await assert.rejects(inspectKey({ origin, keyFile }), { code: 'KEY_UNREADABLE', message: /ENOENT/ })
  }
})
