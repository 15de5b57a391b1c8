import assert from 'node:assert/strict'
import { cp, link, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound, openTorn, wanted } from './fixture.ts'
import { cutAfter, losses } from './power-cut.ts'

const authorities = await makeTemporaryFolder()
after(() => authorities[Symbol.asyncDispose]())

const ALL = ['gen-0001', 'gen-0002', 'gen-0003', 'gen-0004', 'gen-0005', 'gen-0006']

/** Six whole generations. */
const grown = join(authorities.path, 'grown')
{
  const issuer = await makeTestIssuer(authorities.path)
  const vault = await openSound(grown)
  for (const _each of ALL) await vault.accept(await issuer.checkedFor(await vault.request(wanted)))
}

async function grownState(): Promise<AsyncDisposable & { readonly path: string; readonly vault: string }> {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'state')
  await cp(grown, path, { recursive: true, preserveTimestamps: true })
  return { path, vault: join(path, 'credentials'), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

const namesIn = async (path: string) => (await readdir(path)).filter((name) => name.startsWith('gen-'))

test('the newest three generations are kept, and those that are named, and the one in use', async () => {
  await using state = await grownState()
  const vault = await openSound(state.path)
  await vault.activate({ lane: 'x509', generation: 'gen-0002' })
  assert.deepEqual(await vault.prune(['gen-0003', 'sas']), ['gen-0001'])
  assert.deepEqual(await namesIn(state.vault), ['gen-0002', 'gen-0003', 'gen-0004', 'gen-0005', 'gen-0006'])
  assert.deepEqual(await vault.prune([]), ['gen-0003'])
  await vault.activate({ lane: 'sas' })
  assert.deepEqual(await vault.prune([]), ['gen-0002'])
  assert.deepEqual(await vault.prune([]), [])
  assert.deepEqual(await namesIn(state.vault), ['gen-0004', 'gen-0005', 'gen-0006'])
})

test('as long as no pointer says what is in use, nothing is removed', async () => {
  await using state = await grownState()
  assert.deepEqual(await (await openSound(state.path)).prune([]), [])
  assert.deepEqual(await namesIn(state.vault), ALL)
})

test('the key of a generation that goes is overwritten in place', async () => {
  await using state = await grownState()
  const vault = await openSound(state.path)
  await vault.activate({ lane: 'sas' })
  const witness = join(state.path, 'witness')
  await link(join(state.vault, 'gen-0001', 'key.pem'), witness)
  const { size } = await stat(witness)
  await vault.prune(['gen-0002', 'gen-0003'])
  assert.deepEqual(await readFile(witness), Buffer.alloc(size))
})

test('wherever a removal is cut off, the next start finishes it and finds nothing torn', async () => {
  for (const loss of losses) {
    let allowed = 0
    for (; ; allowed += 1) {
      await using state = await grownState()
      await (await openSound(state.path)).activate({ lane: 'x509', generation: 'gen-0003' })
      const cut = await cutAfter(allowed, loss, async () => (await openSound(state.path)).prune([]))
      const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
      const { vault, repairs } = await openTorn(state.path)
      const left = await namesIn(state.vault)
      assert.ok(
        left.every((name) => ALL.includes(name)),
        `${when}: ${left.join()}`,
      )
      assert.ok(cut || left.length === 4, `${when}: what resolved is durable`)
      await vault.prune([])
      const rest = ['gen-0003', 'gen-0004', 'gen-0005', 'gen-0006']
      assert.deepEqual(await namesIn(state.vault), rest, when)
      assert.deepEqual(
        (await vault.generations()).map(({ generation }) => generation),
        rest.toReversed(),
      )
      assert.deepEqual(repairs, [], when)
      if (!cut) break
    }
    assert.ok(allowed > 10, 'it was cut at every call')
  }
})
