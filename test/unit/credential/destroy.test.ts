import assert from 'node:assert/strict'
import { chmod, link, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import fileSystem from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'
import { destroySecret, IN_MEMORY, OUT_OF_REACH } from '../../../agent/credential/destroy.ts'
import { exists } from '../../../agent/system/files.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { cutAfter, losses } from './power-cut.ts'

const SECRET = 'c2VjcmV0IG9mIHRoaXMgZGV2aWNl\n'
const ALWAYS = [IN_MEMORY, OUT_OF_REACH]

async function secretIn(folder: string, name = 'sas.key'): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, SECRET, { mode: 0o600 })
  return path
}

/** Lets calls of the file system that are about this path fail with these codes. */
function refusing(path: string, codes: { readonly open?: string; readonly rm?: string }): Disposable {
  const { open, rm } = fileSystem
  const refuse = (code: string | undefined, given: unknown) => {
    if (code !== undefined && given === path) throw Object.assign(new Error(`${code}: ${path}`), { code })
  }
  fileSystem.open = async (...given) => {
    refuse(codes.open, given[0])
    return open(...given)
  }
  fileSystem.rm = async (...given) => {
    refuse(codes.rm, given[0])
    return rm(...given)
  }
  syncBuiltinESMExports()
  return {
    [Symbol.dispose]() {
      Object.assign(fileSystem, { open, rm })
      syncBuiltinESMExports()
    },
  }
}

test('a secret is gone with its content, and what no program can reach is said all the same', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await secretIn(folder.path)
  assert.deepEqual(await destroySecret([path], {}), ALWAYS)
  assert.deepEqual(await readdir(folder.path), [])
  assert.deepEqual(await destroySecret([path, join(folder.path, 'never', 'was')], {}), ALWAYS, 'once more')
  assert.match(OUT_OF_REACH, /backups.*images.*flash.*enrollment/)
})

test('the agent overwrites also what it owns and may only read', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await secretIn(folder.path)
  await chmod(path, 0o400)
  assert.deepEqual(await destroySecret([path], {}), ALWAYS)
  assert.equal(await exists(path), false)
})

test('another name of the same file is left with zeros behind it, and is told of', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await secretIn(folder.path)
  const other = join(folder.path, 'other')
  await link(path, other)
  const { ino } = await stat(other)
  const [told, ...rest] = await destroySecret([path], {})
  assert.match(told ?? '', new RegExp(`^${path} had another name .*find / -xdev -inum ${ino}$`))
  assert.deepEqual(rest, ALWAYS)
  assert.deepEqual(await readFile(other), Buffer.alloc(SECRET.length), 'overwritten in place, to the last byte')
})

test('a link goes after the file that it leads to, through further links', async () => {
  await using folder = await makeTemporaryFolder()
  await mkdir(join(folder.path, 'far'))
  const target = await secretIn(join(folder.path, 'far'))
  const [near, path] = [join(folder.path, 'near'), join(folder.path, 'sas.key')]
  await symlink(target, near)
  await symlink(near, path)
  assert.deepEqual(await destroySecret([path], {}), ALWAYS)
  assert.equal(await exists(target), false)
  assert.equal((await readdir(folder.path)).includes('sas.key'), false)
})

test('a link whose target is out of reach stays, so that the target is found the next time', async () => {
  await using folder = await makeTemporaryFolder()
  const target = await secretIn(folder.path, 'target')
  const path = join(folder.path, 'sas.key')
  await symlink(target, path)
  {
    using _refusing = refusing(target, { open: 'EROFS', rm: 'EROFS' })
    const [told] = await destroySecret([path], {})
    assert.match(told ?? '', new RegExp(`^${target} .*shred -u ${target}`))
  }
  assert.equal(await readFile(path, 'utf8'), SECRET)
  assert.deepEqual(await destroySecret([path], {}), ALWAYS)
  assert.deepEqual(await readdir(folder.path), [])
})

test('what the system keeps from the agent is named with the command that destroys it', async () => {
  for (const code of ['EROFS', 'EACCES', 'EPERM']) {
    await using folder = await makeTemporaryFolder()
    const [kept, reached] = [await secretIn(folder.path, 'kept'), await secretIn(folder.path, 'reached')]
    using _refusing = refusing(kept, { open: code, rm: code })
    const left = await destroySecret([kept, reached], {})
    assert.equal(left.length, 3)
    assert.match(
      left[0] ?? '',
      new RegExp(`^${kept} .*\\(${code}\\) and still holds the secret: as root, shred -u ${kept}`),
    )
    assert.equal(await exists(reached), false, 'the others go all the same')
  }
})

test('a secret that can only be removed is removed, one that can only be overwritten is overwritten, and both are told', async () => {
  await using folder = await makeTemporaryFolder()
  const [removed, overwritten] = [await secretIn(folder.path, 'removed'), await secretIn(folder.path, 'overwritten')]
  {
    using _refusing = refusing(removed, { open: 'EPERM' })
    assert.match((await destroySecret([removed], {}))[0] ?? '', /was removed, but could not be overwritten .*EPERM/)
  }
  assert.equal(await exists(removed), false)
  using _refusing = refusing(overwritten, { rm: 'EACCES' })
  const [told] = await destroySecret([overwritten], {})
  assert.match(
    told ?? '',
    new RegExp(`was overwritten, but its name is left \\(EACCES\\): as root, rm ${overwritten}$`),
  )
  assert.deepEqual(await readFile(overwritten), Buffer.alloc(SECRET.length))
})

test('the copy of systemd is left alone, and its source named', async () => {
  await using folder = await makeTemporaryFolder()
  await using other = await makeTemporaryFolder()
  const path = await secretIn(folder.path, 'sas-key')
  const elsewhere = join(other.path, 'elsewhere')
  await symlink(path, elsewhere)
  for (const given of [path, elsewhere]) {
    const [told, ...rest] = await destroySecret([given], { CREDENTIALS_DIRECTORY: folder.path })
    assert.match(told ?? '', /LoadCredential=sas-key .*systemctl restart iot-device-agent$/)
    assert.deepEqual(rest, ALWAYS)
  }
  assert.equal(await readFile(path, 'utf8'), SECRET)
  assert.deepEqual(await destroySecret([path], { CREDENTIALS_DIRECTORY: '/run/credentials/other' }), ALWAYS)
})

test('what is no file is not touched', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'folder')
  await mkdir(path)
  const [told] = await destroySecret([path, '/dev/null'], {})
  assert.match(told ?? '', /no regular file/)
  assert.ok(await exists(path))
  assert.ok(await exists('/dev/null'))
})

test('no sentence holds anything of the secret', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await secretIn(folder.path)
  using _refusing = refusing(path, { open: 'EROFS', rm: 'EROFS' })
  assert.equal((await destroySecret([path], {})).join().includes(SECRET.trim()), false)
})

test('wherever the destruction is cut off, the next one finishes it, and one that has ended stays ended', async () => {
  for (const loss of losses) {
    let allowed = 0
    for (; ; allowed += 1) {
      await using folder = await makeTemporaryFolder()
      const target = await secretIn(folder.path, 'target')
      const paths = [await secretIn(folder.path), join(folder.path, 'link')]
      await symlink(target, paths[1] ?? '')
      const cut = await cutAfter(allowed, loss, () => destroySecret(paths, {}))
      const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
      if (!cut) assert.deepEqual(await readdir(folder.path), [], `${when}: durable`)
      assert.deepEqual(await destroySecret(paths, {}), ALWAYS, when)
      assert.deepEqual(await readdir(folder.path), [], when)
      if (!cut) break
    }
    assert.ok(allowed > 10, 'it was cut at every call')
  }
})

test('no name goes before the disk has the zeros: what is unlinked is not written any more', async (context) => {
  await using folder = await makeTemporaryFolder()
  const path = await secretIn(folder.path)
  const order: string[] = []
  const { open, rm } = fileSystem
  context.after(() => {
    Object.assign(fileSystem, { open, rm })
    syncBuiltinESMExports()
  })
  fileSystem.open = async (...given) => {
    const file = await open(...given)
    const [write, sync] = [file.writeFile.bind(file), file.sync.bind(file)]
    const name = given[0] === path ? 'file' : 'folder'
    file.writeFile = (content) => write(content).finally(() => order.push(`${name} written`))
    file.sync = () => sync().finally(() => order.push(`${name} synced`))
    return file
  }
  fileSystem.rm = (...given) => rm(...given).finally(() => order.push('name removed'))
  syncBuiltinESMExports()
  await destroySecret([path], {})
  assert.deepEqual(order, ['file written', 'file synced', 'name removed', 'folder synced'])
})
