import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { exists } from '../../../agent/system/files.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { ID, openSound, openTorn, publicKeys, wanted } from './fixture.ts'
import { generation, issuer, namesIn, preparedState, refOf, waiting } from './prepared-vault.ts'

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)

test('a request is made once, closed to others, and survives restarts', async () => {
  await using folder = await makeTemporaryFolder()
  const first = await (await openSound(folder.path)).request(wanted)
  assert.equal(first.registrationId, ID)
  assert.equal(first.keyKind, 'ec-p256')
  const [ofRequest, ofKey] = await publicKeys(folder.path, first.csrPem, first.keyFile)
  assert.equal(ofRequest, ofKey)
  const again = await openSound(folder.path)
  assert.equal((await again.request(wanted)).csrPem, first.csrPem)
  assert.equal((await again.request({ ...wanted, keyType: 'ec-p384' })).csrPem, first.csrPem)
  assert.equal((await again.pending())?.requestedAt, first.requestedAt)
  assert.equal(await modeOf(first.keyFile), '600')
  assert.equal(await modeOf(join(folder.path, 'credentials')), '700')
  assert.equal(await modeOf(join(folder.path, 'credentials', 'pending')), '700')
})

test('many who ask at once get one and the same request', async () => {
  await using folder = await makeTemporaryFolder()
  const asked = Array.from({ length: 8 }, async () => (await openSound(folder.path)).request(wanted))
  const requests = await Promise.all(asked)
  assert.equal(new Set(requests.map((request) => request.csrPem)).size, 1)
  assert.deepEqual(await readdir(join(folder.path, 'credentials')), ['pending'])
})

test('a vault that is opened while a request is being made lets it be', async () => {
  await using folder = await makeTemporaryFolder()
  const vault = await openSound(folder.path)
  const request = vault.request(wanted)
  const made = request.then(() => true)
  while (!(await Promise.race([made, openSound(folder.path).then(() => false)])));
  assert.equal((await request).registrationId, ID)
})

test('an empty vault has neither credential nor request', async () => {
  await using folder = await makeTemporaryFolder()
  const vault = await openSound(folder.path)
  assert.equal(await vault.active(), undefined)
  assert.equal(await vault.pending(), undefined)
})

test('an accepted chain is in the vault at once and after a restart, under a name of its own', async () => {
  await using folder = await makeTemporaryFolder()
  const vault = await openSound(folder.path)
  const request = await vault.request(wanted)
  const keyPem = await readFile(request.keyFile, 'utf8')
  const chain = await issuer.checkedFor(request)
  const credential = await vault.accept(chain)
  assert.equal(credential.generation, 'gen-0001')
  assert.equal(credential.keyPem, keyPem)
  assert.equal(credential.chainPem, chain.pem)
  assert.equal(credential.facts.thumbprintSha256, chain.facts.thumbprintSha256)
  assert.equal(await vault.pending(), undefined)
  const reopened = await openSound(folder.path)
  assert.deepEqual(await reopened.active(), credential)
  assert.deepEqual(await reopened.load(refOf(credential)), credential)
  assert.deepEqual(await reopened.generations(), [credential])
  const generation = join(folder.path, 'credentials', 'gen-0001')
  assert.deepEqual(await readdir(generation), ['chain.pem', 'key.pem', 'meta.json', 'request.csr'])
  assert.equal(await modeOf(join(generation, 'key.pem')), '600')
})

test('the next generation has another key and leaves the superseded one as it was', async () => {
  await using state = await preparedState()
  const vault = await openSound(state.path)
  const before = await vault.active()
  assert.equal(before?.generation, 'gen-0001')
  const request = await vault.request(wanted)
  assert.equal((await vault.active())?.generation, 'gen-0001', 'waiting disturbs nothing')
  const credential = await vault.accept(await issuer.checkedFor(request))
  assert.equal(credential.generation, 'gen-0002')
  assert.notEqual(credential.keyPem, before?.keyPem)
  assert.deepEqual(await namesIn(vault), ['gen-0002', 'gen-0001'], 'newest first')
  assert.deepEqual(await vault.pointer(), generation('gen-0001'), 'it has not proved itself')
  assert.deepEqual(await vault.active(), before)
  assert.equal(await readFile(join(state.vault, 'gen-0001', 'key.pem'), 'utf8'), before?.keyPem)
  assert.equal(await readFile(join(state.vault, 'gen-0001', 'chain.pem'), 'utf8'), before?.chainPem)
})

test('a chain is accepted only for the request that is open', async () => {
  await using state = await preparedState()
  await using other = await makeTemporaryFolder()
  const vault = await openSound(state.path)
  const foreign = await issuer.checkedFor(await (await openSound(other.path)).request(wanted))
  await assert.rejects(vault.accept(foreign), { code: 'NO_PENDING_REQUEST' })
  await vault.request(wanted)
  await assert.rejects(vault.accept(foreign), { code: 'CHAIN_KEY_MISMATCH' })
  assert.equal((await vault.active())?.generation, 'gen-0001')
})

test('a request for another registration ID is set aside, not reused and not lost', async () => {
  await using folder = await makeTemporaryFolder()
  const vault = await openSound(folder.path, createFakeClock(Date.UTC(2026, 0, 2)))
  const first = await vault.request(wanted)
  const keyPem = await readFile(first.keyFile, 'utf8')
  const second = await vault.request({ ...wanted, registrationId: 'edge-0043' })
  assert.equal(second.registrationId, 'edge-0043')
  assert.equal(second.publicKey.equals(first.publicKey), false)
  const names = await readdir(join(folder.path, 'credentials'))
  assert.deepEqual(names, ['pending', 'pending.superseded-2026-01-02T000000.000Z'])
  assert.equal(await readFile(join(folder.path, 'credentials', names[1] ?? '', 'key.pem'), 'utf8'), keyPem)
})

test('a torn generation is set aside, an older whole one used, and its number is not used again', async () => {
  const tear = {
    'chain.pem': ['', 'half a cha', undefined],
    'key.pem': ['', 'half a key', undefined],
  }
  for (const [file, contents] of Object.entries(tear)) {
    for (const content of contents) {
      await using state = await preparedState()
      const first = await openSound(state.path)
      await first.activate(refOf(await first.accept(await issuer.checkedFor(await first.request(wanted)))))
      const path = join(state.vault, 'gen-0002', file)
      if (content === undefined) await rm(path)
      else await writeFile(path, content)
      const { vault, repairs } = await openTorn(state.path)
      assert.equal((await vault.active())?.generation, 'gen-0001')
      assert.deepEqual(await namesIn(vault), ['gen-0001'])
      assert.equal(await vault.pointer(), undefined)
      assert.ok(repairs.length > 0)
      assert.ok((await readdir(state.vault)).some((name) => name.startsWith('gen-0002.unreadable-')))
      assert.equal((await vault.accept(await issuer.checkedFor(await vault.request(wanted)))).generation, 'gen-0003')
    }
  }
})

test('a torn note or request is made anew from the key, which a signed chain may be on its way for', async () => {
  for (const file of ['meta.json', 'request.csr']) {
    await using folder = await makeTemporaryFolder()
    const first = await (await openSound(folder.path)).request(wanted)
    const chain = await issuer.checkedFor(first)
    await writeFile(join(folder.path, 'credentials', 'pending', file), 'half a')
    const { vault, repairs } = await openTorn(folder.path)
    assert.equal(await vault.pending(), undefined)
    assert.equal(repairs.length, 0)
    const mended = await vault.request(wanted)
    assert.equal(mended.publicKey.equals(first.publicKey), true)
    assert.deepEqual(
      repairs.map((repair) => repair.code),
      ['STATE_TORN'],
    )
    assert.equal((await vault.accept(chain)).generation, 'gen-0001')
  }
})

test('a note whose time is none is torn: nobody can say since when the request waits', async () => {
  for (const requestedAt of ['', 'yesterday', '2026-01-02', '+275760-09-13T00:00:00.001Z', 'NaN']) {
    await using folder = await makeTemporaryFolder()
    const first = await (await openSound(folder.path)).request(wanted)
    const note = join(folder.path, 'credentials', 'pending', 'meta.json')
    await writeFile(note, JSON.stringify({ registrationId: ID, requestedAt }))
    const { vault } = await openTorn(folder.path)
    const mended = await vault.request(wanted)
    assert.equal(mended.publicKey.equals(first.publicKey), true)
    assert.equal(new Date(mended.requestedAt).toISOString(), mended.requestedAt)
  }
})

test('a request whose key is torn is set aside and another made, and that is told although the vault was open', async () => {
  await using folder = await makeTemporaryFolder()
  const { vault, repairs } = await openTorn(folder.path)
  const first = await vault.request(wanted)
  await writeFile(first.keyFile, 'half a key')
  const second = await vault.request(wanted)
  const [told, ...others] = repairs
  assert.equal(told?.code, 'STATE_TORN')
  assert.match(told.message, /a chain for this request fits no more; it is now .*pending\.unreadable-/)
  assert.deepEqual(others, [])
  assert.equal(second.publicKey.equals(first.publicKey), false)
  assert.ok((await readdir(join(folder.path, 'credentials'))).some((name) => name.startsWith('pending.unreadable-')))
})

test('a key that others can read is refused with the command that mends it, and accepted once mended', async () => {
  await using state = await preparedState()
  const key = join(state.vault, 'gen-0001', 'key.pem')
  for (const mode of [0o640, 0o604, 0o620, 0o602]) {
    await chmod(key, mode)
    await assert.rejects(openSound(state.path), { code: 'KEY_EXPOSED', message: new RegExp(`chmod 600 ${key}$`) })
  }
  await chmod(key, 0o600)
  assert.equal((await (await openSound(state.path)).active())?.generation, 'gen-0001')
})

test('folders that others can enter are refused, and so is the key of a waiting request', async () => {
  await using state = await preparedState()
  const { keyFile } = await (await openSound(state.path)).request(wanted)
  for (const path of [state.vault, join(state.vault, 'gen-0001'), join(state.vault, 'pending')]) {
    await chmod(path, 0o755)
    await assert.rejects(openSound(state.path), { code: 'KEY_EXPOSED', message: new RegExp(`chmod 700 ${path}$`) })
    await chmod(path, 0o700)
  }
  await chmod(keyFile, 0o644)
  await assert.rejects(openSound(state.path), { code: 'KEY_EXPOSED', message: new RegExp(`chmod 600 ${keyFile}$`) })
})

test('an exposed key is never passed over for an older generation', async () => {
  await using state = await preparedState()
  const vault = await openSound(state.path)
  await vault.activate(refOf(await vault.accept(await issuer.checkedFor(await vault.request(wanted)))))
  await chmod(join(state.vault, 'gen-0002', 'key.pem'), 0o644)
  await assert.rejects(openSound(state.path), { code: 'KEY_EXPOSED' })
  await assert.rejects(vault.active(), { code: 'KEY_EXPOSED' })
  await assert.rejects(vault.load(generation('gen-0002')), { code: 'KEY_EXPOSED' })
})

test('a generation whose key others can read is left out and told of once, and the others are still there', async () => {
  await using state = await preparedState()
  const { vault, repairs } = await openTorn(state.path)
  await vault.accept(await issuer.checkedFor(await vault.request(wanted)))
  await chmod(join(state.vault, 'gen-0002', 'key.pem'), 0o644)
  for (const turn of [1, 2]) assert.deepEqual(await namesIn(vault), ['gen-0001'], String(turn))
  assert.deepEqual(
    repairs.map((repair) => repair.code),
    ['KEY_EXPOSED'],
  )
  await chmod(join(state.vault, 'gen-0002', 'key.pem'), 0o600)
  assert.deepEqual(await namesIn(vault), ['gen-0002', 'gen-0001'])
})

test('what a dead process was making is cleared away, what a living one is making is let be', async () => {
  await using state = await preparedState(waiting)
  const uuid = randomUUID()
  const unfinished = (pid: number) => [
    join(state.path, `.assignment.json.${pid}-${uuid}.tmp`),
    join(state.vault, `.active.${pid}-${uuid}.tmp`),
    join(state.vault, 'pending', `.chain.pem.${pid}-${uuid}.tmp`),
  ]
  const folderOf = (pid: number) => join(state.vault, `.pending.${pid}-${uuid}.tmp`)
  // No number of a process is beyond 4194304. Source: proc(5), pid_max.
  const foreign = [join(state.path, '.notes.tmp'), join(state.path, 'assignment.json')]
  for (const path of [...unfinished(4_194_305), ...unfinished(process.ppid), ...foreign]) await writeFile(path, 'x')
  for (const pid of [4_194_305, process.ppid]) await mkdir(folderOf(pid))
  await openSound(state.path)
  const gone = await Promise.all([...unfinished(4_194_305), folderOf(4_194_305)].map(exists))
  assert.deepEqual(new Set(gone), new Set([false]))
  const there = await Promise.all([...unfinished(process.ppid), folderOf(process.ppid), ...foreign].map(exists))
  assert.deepEqual(new Set(there), new Set([true]))
})

test('a link in the place of a folder is refused, with the way to move the state', async () => {
  for (const name of ['credentials', 'credentials/gen-0001', 'credentials/pending']) {
    await using state = await preparedState(waiting)
    const path = join(state.path, name)
    await rename(path, join(state.path, 'elsewhere'))
    await symlink(join(state.path, 'elsewhere'), path)
    await assert.rejects(openSound(state.path), (error) => {
      assert.ok(error instanceof Failure)
      assert.equal(error.code, 'STATE_LINKED')
      assert.equal(error.message, `${path} is a symbolic link to ${join(state.path, 'elsewhere')}`)
      assert.doesNotMatch(error.message, /chmod|chown/)
      assert.match(error.advice, /paths\.stateDir/)
      return true
    })
  }
})

test('an acceptance that another process has finished meanwhile is no failure', async () => {
  await using state = await preparedState()
  const vault = await openSound(state.path)
  const chain = await issuer.checkedFor(await vault.request(wanted))
  await writeFile(join(state.vault, 'pending', 'chain.pem'), chain.pem)
  await writeFile(join(state.vault, 'active'), 'gen-0002\n')
  await rename(join(state.vault, 'pending'), join(state.vault, 'gen-0002'))
  assert.equal((await vault.active())?.generation, 'gen-0002')
})
