import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import {
  forgetAssignment,
  parseAssignment,
  readAssignment,
  saveAssignment,
} from '../../../agent/provision/assignment.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const NOW = Date.UTC(2026, 4, 1)
const owner = { dpsHost: 'global.azure-devices-provisioning.net', idScope: '0ne00000001', registrationId: 'edge-1' }
const assignment = { assignedHub: 'hub1.azure-devices.net', deviceId: 'Edge-1' }

async function folder(context: TestContext) {
  const made = await makeTemporaryFolder()
  context.after(() => made[Symbol.asyncDispose]())
  return { folder: made.path, path: join(made.path, 'assignment.json') }
}

test('what was saved is found again, whole, and only its owner can read the file', async (t) => {
  const { path } = await folder(t)
  await saveAssignment(path, owner, assignment, NOW)
  assert.deepEqual(await readAssignment(path, owner, NOW), {
    found: 'ours',
    record: { version: 1, ...owner, ...assignment, at: '2026-05-01T00:00:00.000Z' },
  })
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('without a file nothing is found', async (t) => {
  const { path } = await folder(t)
  assert.deepEqual(await readAssignment(path, owner, NOW), { found: 'nothing' })
})

for (const changed of [{ dpsHost: 'other.example' }, { idScope: '0ne00000002' }, { registrationId: 'edge-2' }]) {
  test(`an assignment made with another ${Object.keys(changed)[0]} is foreign, and stays`, async (t) => {
    const { path } = await folder(t)
    await saveAssignment(path, owner, assignment, NOW)
    assert.equal((await readAssignment(path, { ...owner, ...changed }, NOW)).found, 'foreign')
    assert.equal((await readAssignment(path, owner, NOW)).found, 'ours')
  })
}

test('a torn file is set aside under a name that says so, and nothing is found afterwards', async (t) => {
  const { path, folder: state } = await folder(t)
  await saveAssignment(path, owner, assignment, NOW)
  const whole = await readFile(path, 'utf8')
  await writeFile(path, whole.slice(0, whole.length / 2))
  const cached = await readAssignment(path, owner, NOW)
  assert.ok(cached.found === 'torn')
  assert.match(cached.movedTo ?? '', /assignment\.json\.unreadable-2026-05-01T/)
  assert.equal((await readdir(state)).length, 1)
  assert.deepEqual(await readAssignment(path, owner, NOW), { found: 'nothing' })
})

test('every cut of the file is torn or whole, never half', async (t) => {
  const { path } = await folder(t)
  await saveAssignment(path, owner, assignment, NOW)
  const whole = await readFile(path, 'utf8')
  const end = whole.trimEnd().length
  for (let length = 0; length < end; length += 1) assert.equal(parseAssignment(whole.slice(0, length)), undefined)
  assert.ok(parseAssignment(whole))
})

test('something unreadable under the name is reported and not fatal', async (t) => {
  const { path } = await folder(t)
  await mkdir(path)
  assert.deepEqual(await readAssignment(path, owner, NOW), { found: 'torn', reason: 'EISDIR', movedTo: undefined })
})

for (const [what, change] of Object.entries({
  'another version': { version: 2 },
  'a hub that is no host name': { assignedHub: 'a b' },
  'an empty device ID': { deviceId: '' },
  'a number as the scope': { idScope: 7 },
})) {
  test(`a record with ${what} is not believed`, () => {
    const record = { version: 1, ...owner, ...assignment, at: 'x', ...change }
    assert.equal(parseAssignment(JSON.stringify(record)), undefined)
  })
}

test('forgetting removes the file, and forgetting nothing is fine', async (t) => {
  const { path, folder: state } = await folder(t)
  await saveAssignment(path, owner, assignment, NOW)
  await forgetAssignment(path)
  await forgetAssignment(path)
  assert.deepEqual(await readdir(state), [])
})

test('a new assignment replaces the old one', async (t) => {
  const { path } = await folder(t)
  await saveAssignment(path, owner, assignment, NOW)
  await saveAssignment(path, owner, { ...assignment, assignedHub: 'hub2.azure-devices.net' }, NOW)
  const cached = await readAssignment(path, owner, NOW)
  assert.ok(cached.found === 'ours')
  assert.equal(cached.record.assignedHub, 'hub2.azure-devices.net')
})
