import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { exists, readIfThere, setAside, writeDurably } from '../../../agent/system/files.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

test('a durable write replaces the file, keeps it private and leaves nothing beside it', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'state.json')
  await writeFile(path, 'old', { mode: 0o644 })
  await writeDurably(path, 'new')
  assert.equal(await readFile(path, 'utf8'), 'new')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a write that fails leaves the old content and no temporary file', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'taken')
  await mkdir(join(path, 'inside'), { recursive: true })
  await assert.rejects(
    writeDurably(path, 'new'),
    (error) => error instanceof Failure && error.code === 'STATE_UNWRITABLE',
  )
  assert.deepEqual(await readdir(folder.path), ['taken'])
})

test('a folder that is not there is named in the failure', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'no', 'state.json')
  await assert.rejects(writeDurably(path, 'x'), (error) => error instanceof Failure && error.context['path'] === path)
})

test('a missing file is not an error, an unreadable one is', async () => {
  await using folder = await makeTemporaryFolder()
  assert.equal(await readIfThere(join(folder.path, 'none')), undefined)
  await assert.rejects(readIfThere(folder.path), { code: 'EISDIR' })
})

test('a torn file is set aside whole, under a name that says so', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'state.json')
  await writeFile(path, '{"torn')
  await chmod(path, 0o600)
  const aside = await setAside(path, Date.UTC(2026, 0, 2))
  assert.equal(await exists(path), false)
  assert.match(aside, /state\.json\.unreadable-2026-01-02T/)
  assert.equal(await readFile(aside, 'utf8'), '{"torn')
})
