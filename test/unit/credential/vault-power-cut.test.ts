import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { openSound, publicKeys, wanted } from './fixture.ts'
import { cutAfter, losses } from './power-cut.ts'
import { generation, namesIn, openChain, openRequest, preparedState, waiting } from './prepared-vault.ts'

/** Cuts the power before every call that changes the disk and after the last one, with every loss that may follow. */
async function atEveryCut(check: (allowed: number, loss: (typeof losses)[number]) => Promise<boolean>): Promise<void> {
  for (const loss of losses) {
    let allowed = 0
    while (await check(allowed, loss)) allowed += 1
    // An acceptance alone is ten calls: a file and a folder, each opened, synced and renamed, with what lies between.
    assert.ok(allowed >= 10 && allowed < 100, 'it was cut at every call')
  }
}

/** What lies about that nobody will ever use. */
async function leftoversIn(path: string): Promise<readonly string[]> {
  const names = await readdir(path, { recursive: true })
  return names.filter((name) => name.endsWith('.tmp'))
}

test('wherever the making of a request is cut off, the next start has one whole request', async () => {
  await atEveryCut(async (allowed, loss) => {
    await using folder = await makeTemporaryFolder()
    const state = join(folder.path, 'state')
    let made: string | undefined
    const cut = await cutAfter(allowed, loss, async () => {
      made = (await (await openSound(state)).request(wanted)).csrPem
    })
    const request = await (await openSound(state)).request(wanted)
    const [ofRequest, ofKey] = await publicKeys(folder.path, request.csrPem, request.keyFile)
    const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
    assert.equal(ofRequest, ofKey, when)
    assert.deepEqual(await readdir(join(state, 'credentials')), ['pending'], when)
    assert.equal(made ?? request.csrPem, request.csrPem, `${when}: what was handed out is still there`)
    return cut
  })
})

test('wherever an acceptance is cut off, the request waits or the generation is there, and the old one is in use', async () => {
  const ends = new Set<boolean>()
  await atEveryCut(async (allowed, loss) => {
    await using state = await preparedState(waiting)
    const vault = await openSound(state.path)
    const cut = await cutAfter(allowed, loss, () => vault.accept(openChain))
    const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
    const reopened = await openSound(state.path)
    assert.deepEqual(await reopened.pointer(), generation('gen-0001'), when)
    assert.equal((await reopened.active())?.generation, 'gen-0001', when)
    const isThere = (await namesIn(reopened)).length === 2
    ends.add(isThere)
    if (!isThere) {
      assert.ok(cut, `${when}: an acceptance that resolved is durable`)
      assert.equal((await reopened.pending())?.csrPem, openRequest.csrPem, 'the request still waits')
    }
    assert.equal((await reopened.accept(openChain)).generation, 'gen-0002', `${when}: accepted again`)
    assert.deepEqual(await namesIn(reopened), ['gen-0002', 'gen-0001'], when)
    const accepted = await reopened.load(generation('gen-0002'))
    assert.equal(accepted?.facts.thumbprintSha256, openChain.facts.thumbprintSha256)
    assert.equal(await reopened.pending(), undefined)
    assert.deepEqual(await leftoversIn(state.path), [], when)
    return cut
  })
  assert.deepEqual([...ends], [false, true], 'both ends were met, and never a third')
})

test('the end of a cut-off acceptance is durable, wherever the power goes a second time', async () => {
  const ends = new Set<string | undefined>()
  await atEveryCut(async (allowed, loss) => {
    await using state = await preparedState(waiting)
    await writeFile(join(state.vault, 'pending', 'chain.pem'), openChain.pem)
    const cut = await cutAfter(allowed, loss, async () => {
      const vault = await openSound(state.path)
      await vault.activate(generation('gen-0002'))
    })
    const reopened = await openSound(state.path)
    const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
    assert.deepEqual(await namesIn(reopened), ['gen-0002', 'gen-0001'], when)
    const active = await reopened.active()
    ends.add(active?.generation)
    assert.ok(cut || active?.generation === 'gen-0002', when)
    return cut
  })
  assert.deepEqual([...ends], ['gen-0001', 'gen-0002'])
})

test('a first acceptance that is cut off leaves the request waiting or the generation there', async () => {
  await atEveryCut(async (allowed, loss) => {
    await using state = await preparedState(waiting)
    await rm(join(state.vault, 'active'))
    await rm(join(state.vault, 'gen-0001'), { recursive: true })
    const vault = await openSound(state.path)
    const cut = await cutAfter(allowed, loss, () => vault.accept(openChain))
    const reopened = await openSound(state.path)
    const credential = (await reopened.active()) ?? (await reopened.accept(openChain))
    const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
    assert.equal(credential.facts.thumbprintSha256, openChain.facts.thumbprintSha256, when)
    assert.equal(credential.generation, 'gen-0001')
    assert.equal(await reopened.pointer(), undefined, `${when}: what is in use is not decided here`)
    return cut
  })
})

test('an acceptance of an earlier version, whose pointer went ahead of the generation, is finished under that name', async () => {
  await atEveryCut(async (allowed, loss) => {
    await using state = await preparedState(waiting)
    await writeFile(join(state.vault, 'pending', 'chain.pem'), openChain.pem)
    await writeFile(join(state.vault, 'active'), 'gen-0002\n')
    const cut = await cutAfter(allowed, loss, async () => {
      const vault = await openSound(state.path)
      // Other work of the same start, so that there is more to be cut off.
      await vault.activate({ lane: 'sas' })
      await vault.activate(generation('gen-0002'))
    })
    const vault = await openSound(state.path)
    const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
    const found = await vault.pointer()
    if (found?.lane === 'sas') assert.ok(cut)
    else assert.deepEqual(await vault.active(), await vault.load(generation('gen-0002')), when)
    assert.deepEqual(await namesIn(vault), ['gen-0002', 'gen-0001'], when)
    assert.equal(await vault.pending(), undefined)
    return cut
  })
})
