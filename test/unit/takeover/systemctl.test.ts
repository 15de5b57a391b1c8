import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createSystemctl } from '../../../agent/takeover/systemctl.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

/** A program in the place of systemctl, which writes down how it was called. */
async function openProgram(body: string) {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'systemctl')
  await writeFile(path, `#!/bin/sh\necho "$*" >> ${folder.path}/calls\n${body}\n`, { mode: 0o755 })
  return {
    systemctl: createSystemctl(path),
    calls: async () => (await readFile(join(folder.path, 'calls'), 'utf8')).trim().split('\n'),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('a start does not wait for the service, and forgets earlier failures first', async () => {
  await using program = await openProgram('[ "$1" != reset-failed ]')
  await program.systemctl.start('x.service')
  assert.deepEqual(await program.calls(), ['reset-failed x.service', 'start --no-block x.service'])
})

test('a unit that systemd does not know has stopped; any other refusal is a failure with its words', async () => {
  await using unknown = await openProgram('exit 5')
  await unknown.systemctl.stop('x.service')
  await using refusing = await openProgram('echo "Failed to stop: denied" >&2; exit 1')
  await assert.rejects(
    refusing.systemctl.stop('x.service'),
    (error) =>
      error instanceof Failure && error.code === 'IMPORT_SYSTEMCTL' && /Failed to stop: denied/.test(error.message),
  )
})

const ANSWERS = [
  ['isActive', 'active', true],
  ['isActive', 'activating', false],
  ['isEnabled', 'enabled', true],
  ['isEnabled', 'disabled', false],
  ['isEnabled', 'masked', false],
] as const

for (const [method, said, expected] of ANSWERS) {
  test(`${method} is ${expected} when systemctl says ${said}`, async () => {
    await using program = await openProgram(`echo ${said}; ${expected ? 'exit 0' : 'exit 3'}`)
    assert.equal(await program.systemctl[method]('x.service'), expected)
  })
}

test('no systemctl at all is a failure that names it', async () => {
  await assert.rejects(createSystemctl('/nowhere/systemctl').isActive('x.service'), /\/nowhere\/systemctl.*ENOENT/)
})
