import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chown, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { actAsOwner } from '../../../agent/system/act-as-owner.ts'
import type { ProcessRights } from '../../../agent/system/act-as-owner.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

function recordingRights(euid: number, named = true) {
  const calls: string[] = []
  const rights: ProcessRights = {
    geteuid: () => euid,
    initgroups: (user, group) => {
      calls.push(`initgroups ${user} ${group}`)
      if (!named) throw Object.assign(new Error('no such user'), { code: 'ERR_UNKNOWN_CREDENTIAL' })
    },
    setgroups: (groups) => void calls.push(`setgroups ${groups.join(' ')}`),
    setgid: (group) => void calls.push(`setgid ${group}`),
    setuid: (user) => void calls.push(`setuid ${user}`),
  }
  return { rights, calls }
}

test('a user who is not root stays who it is, and so does root without such a folder', async () => {
  await using folder = await makeTemporaryFolder()
  const user = recordingRights(1000)
  assert.equal(await actAsOwner(folder.path, user.rights), false)
  const root = recordingRights(0)
  assert.equal(await actAsOwner(join(folder.path, 'none'), root.rights), false)
  assert.deepEqual([...user.calls, ...root.calls], [])
})

test('root gives up groups, then group, then user, to become the owner of the folder', async () => {
  await using folder = await makeTemporaryFolder()
  if (process.geteuid?.() === 0) await chown(folder.path, 12_345, 12_346)
  const { uid, gid } = await stat(folder.path)
  const { rights, calls } = recordingRights(0)
  assert.equal(await actAsOwner(folder.path, rights), true)
  assert.deepEqual(calls, [`initgroups ${uid} ${gid}`, `setgid ${gid}`, `setuid ${uid}`])
  const nameless = recordingRights(0, false)
  await actAsOwner(folder.path, nameless.rights)
  assert.deepEqual(nameless.calls, [calls[0], `setgroups ${gid}`, ...calls.slice(1)])
})

test('in a real process: afterwards a file belongs to the owner, and root is out of reach', async () => {
  await using folder = await makeTemporaryFolder()
  const isRoot = process.geteuid?.() === 0
  if (isRoot) await chown(folder.path, 12_345, 12_346)
  const module = new URL('../../../agent/system/act-as-owner.ts', import.meta.url).href
  const program = `
    const { actAsOwner } = await import(${JSON.stringify(module)})
    await actAsOwner(${JSON.stringify(folder.path)})
    require('node:fs').writeFileSync(${JSON.stringify(join(folder.path, 'file'))}, '')
    let back = 'root again'
    try { process.setuid(0) } catch (error) { back = error.code }
    console.log(JSON.stringify({ uid: process.getuid(), groups: process.getgroups(), back }))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', `(async () => {${program}})()`])
  const { uid } = await stat(join(folder.path, 'file'))
  const seen = JSON.parse(stdout) as { uid: number; groups: number[]; back: string }
  assert.equal(uid, isRoot ? 12_345 : process.geteuid?.())
  assert.equal(seen.uid, uid)
  assert.equal(seen.back, 'EPERM')
  if (isRoot) assert.deepEqual(seen.groups, [12_346])
})
