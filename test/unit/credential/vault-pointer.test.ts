import assert from 'node:assert/strict'
import { chmod, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { isSameRef } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { openSound, openTorn } from './fixture.ts'
import { cutAfter, losses } from './power-cut.ts'
import { generation, openChain, preparedState, waiting } from './prepared-vault.ts'

test('a pointer names SAS, a pair of files or a generation, durably wherever a change of it is cut off', async () => {
  const refs: CredentialRef[] = [{ lane: 'sas' }, generation('files'), generation('gen-0001')]
  for (const [index, ref] of refs.entries()) {
    const before = refs[(index + 1) % refs.length] ?? ref
    let allowed = 0
    for (const loss of losses) {
      for (allowed = 0; ; allowed += 1) {
        await using state = await preparedState()
        const vault = await openSound(state.path)
        await vault.activate(before)
        const cut = await cutAfter(allowed, loss, () => vault.activate(ref))
        const found = await (await openSound(state.path)).pointer()
        assert.ok(isSameRef(found, ref) || (cut && isSameRef(found, before)), JSON.stringify({ allowed, loss, found }))
        if (!cut) break
      }
      assert.ok(allowed >= 5, 'it was cut at every call')
    }
  }
})

test('a pointer that says already what it is to say is made durable, should an earlier process not have come to it', async () => {
  await using state = await preparedState()
  const vault = await openSound(state.path)
  const cut = await cutAfter(0, { content: true, names: true }, () => vault.activate(generation('gen-0001')))
  assert.ok(cut)
})

test('no pointer is ever made to a generation that is not there, and a request is none', async () => {
  await using state = await preparedState(waiting)
  const vault = await openSound(state.path)
  await assert.rejects(vault.activate(generation('gen-0002')), { code: 'UNEXPECTED' })
  assert.deepEqual(await vault.pointer(), generation('gen-0001'))
})

test('what does not lie in the vault is not loaded from it', async () => {
  await using state = await preparedState()
  const vault = await openSound(state.path)
  for (const ref of [{ lane: 'sas' } as const, generation('files'), generation('gen-0002')]) {
    assert.equal(await vault.load(ref), undefined)
  }
})

test('without a pointer, or with one that is torn or names nothing, none is invented: the newest whole generation is there', async () => {
  for (const content of [undefined, '', 'gen-', '\0\0\0\0', 'gen-0009\n', '../elsewhere\n', 'SAS\n']) {
    await using state = await preparedState()
    await cp(join(state.vault, 'gen-0001'), join(state.vault, 'gen-0002'), { recursive: true })
    await rm(join(state.vault, 'active'))
    if (content !== undefined) await writeFile(join(state.vault, 'active'), content)
    const { vault, repairs } = await openTorn(state.path)
    assert.equal(await vault.pointer(), undefined)
    assert.equal((await vault.active())?.generation, 'gen-0002')
    assert.deepEqual(
      repairs.map((repair) => repair.code),
      content === undefined ? [] : ['STATE_TORN'],
    )
    const names = await readdir(state.vault)
    assert.equal(names.includes('active'), false)
    assert.equal(names.filter((name) => name.startsWith('active.unreadable-')).length, content === undefined ? 0 : 1)
  }
})

test('a pointer that cannot be read is set aside like a torn one', async () => {
  await using state = await preparedState()
  await rm(join(state.vault, 'active'))
  await mkdir(join(state.vault, 'active'))
  const { vault, repairs } = await openTorn(state.path)
  assert.equal(await vault.pointer(), undefined)
  assert.equal(repairs.length, 1)
  await vault.activate({ lane: 'sas' })
  assert.deepEqual(await (await openSound(state.path)).pointer(), { lane: 'sas' })
})

test('a generation is not in use because a stale pointer had its name', async () => {
  await using state = await preparedState(waiting)
  const { vault } = await openTorn(state.path)
  await writeFile(join(state.vault, 'active'), 'gen-0002\n')
  assert.equal((await vault.accept(openChain)).generation, 'gen-0002')
  assert.equal(await vault.pointer(), undefined)
})

test('a pointer to an older whole generation is obeyed', async () => {
  await using state = await preparedState()
  await cp(join(state.vault, 'gen-0001'), join(state.vault, 'gen-0002'), { recursive: true })
  assert.equal((await (await openSound(state.path)).active())?.generation, 'gen-0001')
})

test('with SAS in use, the exposed key of a generation keeps nothing from starting', async () => {
  await using state = await preparedState()
  await (await openSound(state.path)).activate({ lane: 'sas' })
  await chmod(join(state.vault, 'gen-0001', 'key.pem'), 0o644)
  assert.deepEqual(await (await openSound(state.path)).pointer(), { lane: 'sas' })
})
