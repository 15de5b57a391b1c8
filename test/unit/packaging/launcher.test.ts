/** The program of the package without a runtime: it takes the Node of the system. */
import assert from 'node:assert/strict'
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runProgram } from '../../kit/program.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

async function layOut(folder: string): Promise<string> {
  const launcher = join(folder, 'iot-device-agent')
  await copyFile(fileURLToPath(new URL('../../../scripts/launcher.sh', import.meta.url)), launcher)
  await chmod(launcher, 0o755)
  await mkdir(join(folder, 'lib'))
  await writeFile(join(folder, 'lib/iot-device-agent.cjs'), 'console.log(process.argv.slice(2).join())')
  await mkdir(join(folder, 'bin'))
  for (const name of ['readlink', 'sh']) await symlink(`/usr/bin/${name}`, join(folder, 'bin', name))
  return launcher
}

test('without a runtime beside it the node in PATH runs the program', async () => {
  await using folder = await makeTemporaryFolder()
  const launcher = await layOut(folder.path)
  await symlink(process.execPath, join(folder.path, 'bin/node'))
  const { status, stdout } = await runProgram([launcher], ['status'], { PATH: join(folder.path, 'bin') })
  assert.deepEqual([status, stdout], [0, 'status\n'])
})

test('without any Node it says what to install', async () => {
  await using folder = await makeTemporaryFolder()
  const launcher = await layOut(folder.path)
  const { status, stderr } = await runProgram([launcher], ['status'], { PATH: join(folder.path, 'bin') })
  assert.equal(status, 1)
  assert.match(stderr, /nodejs 24/)
})

test('a Node that is too old is named, and what to install', async () => {
  await using folder = await makeTemporaryFolder()
  const launcher = await layOut(folder.path)
  await writeFile(join(folder.path, 'bin/node'), '#!/bin/sh\necho v20.19.2\n', { mode: 0o755 })
  const { status, stderr } = await runProgram([launcher], ['status'], { PATH: join(folder.path, 'bin') })
  assert.equal(status, 1)
  assert.match(stderr, /v20\.19\.2.*nodejs 24/)
})

test('sealing needs no Node at all', async () => {
  await using folder = await makeTemporaryFolder()
  const launcher = await layOut(folder.path)
  await writeFile(join(folder.path, 'seal'), '#!/bin/sh\necho "sealing $*"\n', { mode: 0o755 })
  const { stdout } = await runProgram([launcher], ['seal', '--check'], { PATH: join(folder.path, 'bin') })
  assert.equal(stdout, 'sealing --check\n')
})
