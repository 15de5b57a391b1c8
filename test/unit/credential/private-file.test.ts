import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import {
  currentIdentity,
  exposureInVault,
  exposureOfKeyFile,
  exposureOfKeyFolder,
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
