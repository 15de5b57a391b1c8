import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { sourceTimeMs } from '../../../scripts/source-time.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const root = new URL('../../../', import.meta.url).pathname
const require = createRequire(import.meta.url)

async function builtAtMs(environment: Readonly<Record<string, string>>): Promise<unknown> {
  await using folder = await makeTemporaryFolder()
  const bundle = join(folder.path, 'build-time.cjs')
  execFileSync(process.execPath, [join(root, 'scripts/bundle.ts'), bundle, 'agent/time/build-time.ts'], {
    env: { ...process.env, ...environment },
  })
  return (require(bundle) as { readonly builtAtMs: unknown }).builtAtMs
}

test('a bundle says when its source was changed last, not when it was made', async () => {
  assert.equal(await builtAtMs({ SOURCE_DATE_EPOCH: '1788000000' }), 1_788_000_000_000)
})

test('a bundle of a source that is older than the first release has the floor of the source', async () => {
  assert.equal(await builtAtMs({ SOURCE_DATE_EPOCH: '1' }), Date.UTC(2026, 0, 1))
})

test('without SOURCE_DATE_EPOCH the time of the last commit is taken, and outside of git none', async () => {
  const seconds = execFileSync('git', ['-C', root, 'log', '-1', '--format=%ct']).toString().trim()
  assert.equal(await sourceTimeMs(root, {}), Number(seconds) * 1000)
  await using folder = await makeTemporaryFolder()
  assert.equal(await sourceTimeMs(folder.path, {}), undefined)
})

test('a source from the future, or of no time at all, is not built: no device would believe its clock', async () => {
  await assert.rejects(sourceTimeMs(root, { SOURCE_DATE_EPOCH: '4102444800' }), /from the future: 2100-01-01/)
  await assert.rejects(sourceTimeMs(root, { SOURCE_DATE_EPOCH: 'today' }), /not a number of seconds/)
})
