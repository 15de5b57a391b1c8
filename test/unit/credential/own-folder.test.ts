import assert from 'node:assert/strict'
import { chmod, chown } from 'node:fs/promises'
import { test } from 'node:test'
import { requireOwnFolder } from '../../../agent/credential/private-file.ts'
import { Failure } from '../../../agent/failure.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const code = (wanted: string) => (error: unknown) => error instanceof Failure && error.code === wanted

test('a state folder of another user is not touched: what a wrong user makes there locks the right one out', async () => {
  await using folder = await makeTemporaryFolder()
  const isRoot = process.getuid?.() === 0
  if (isRoot) await chown(folder.path, 65_534, 65_534)
  // Who is not root cannot give a folder away, but knows one that is not his.
  await assert.rejects(requireOwnFolder(isRoot ? folder.path : '/'), code('STATE_FOREIGN'))
})

test('a state folder in which anybody could exchange the vault is refused with the command that mends it', async () => {
  await using folder = await makeTemporaryFolder()
  await requireOwnFolder(folder.path)
  await chmod(folder.path, 0o777)
  await assert.rejects(requireOwnFolder(folder.path), (error) => {
    assert.ok(code('KEY_EXPOSED')(error))
    return String(error).includes(`chmod o-w ${folder.path}`)
  })
})
