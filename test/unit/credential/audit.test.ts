import assert from 'node:assert/strict'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import fileSystem from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'
import { verifyAudit } from '../../../agent/credential/audit-chain.ts'
import { MAX_FILE_BYTES } from '../../../agent/credential/audit-file.ts'
import { MAX_QUEUED, MAX_RECENT, openAudit } from '../../../agent/credential/audit.ts'
import type { Audit } from '../../../agent/credential/audit.ts'
import type { Failure } from '../../../agent/failure.ts'
import { readIfThere } from '../../../agent/system/files.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { cutAfter, losses } from './power-cut.ts'

const clock = createFakeClock(Date.UTC(2026, 0, 2))
const ASIDE = '.tampered-2026-01-02T000000.000Z'

interface Opened {
  readonly audit: Audit
  readonly troubles: readonly Failure[]
}

async function openedIn(folder: string): Promise<Opened> {
  const troubles: Failure[] = []
  const audit = await openAudit(join(folder, 'audit.ndjson'), clock, (failure) => void troubles.push(failure))
  return { audit, troubles }
}

/** A trail with which nothing may be wrong. */
function openSound(folder: string): Promise<Audit> {
  return openAudit(join(folder, 'audit.ndjson'), clock, (failure) => {
    throw failure
  })
}

const filesIn = async (folder: string) => ({
  older: await readIfThere(join(folder, 'audit.1.ndjson')),
  current: await readIfThere(join(folder, 'audit.ndjson')),
})
const whatIn = async (folder: string) => verifyAudit(await filesIn(folder)).entries.map(({ what }) => what)
const codesOf = (troubles: readonly Failure[]) => troubles.map(({ code }) => code)

/** A disk that takes so many bytes more, and tells of the end in the middle of a write. */
function fullDisk(roomBytes: number): Disposable & { room: number } {
  const { open } = fileSystem
  const disk = {
    room: roomBytes,
    [Symbol.dispose]() {
      fileSystem.open = open
      syncBuiltinESMExports()
    },
  }
  fileSystem.open = async (...given) => {
    const file = await open(...given)
    const write = file.writeFile.bind(file)
    file.writeFile = async (content) => {
      const text = typeof content === 'string' ? content : ''
      const taken = text.slice(0, disk.room)
      disk.room -= taken.length
      await write(taken)
      if (taken !== text) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    }
    return file
  }
  syncBuiltinESMExports()
  return disk
}

test('entries are on disk in order once they are appended, and the chain goes on after a restart', async () => {
  await using folder = await makeTemporaryFolder()
  const first = await openSound(folder.path)
  assert.deepEqual(await readdir(folder.path), [], 'nothing has happened yet')
  await Promise.all(['wanted', 'prepared', 'registered'].map((what) => first.append({ what, to: 'x509' })))
  const second = await openSound(folder.path)
  assert.deepEqual(second.head(), first.head())
  await second.append({ what: 'proved', version: 7 })
  assert.deepEqual(await whatIn(folder.path), ['trailBegun', 'wanted', 'prepared', 'registered', 'proved'])
  assert.equal(second.head().seq, 5)
  assert.deepEqual(verifyAudit(await filesIn(folder.path), second.head()).state, 'intact')
  assert.equal(second.intact, true)
  const [last] = second.recent(1)
  assert.deepEqual([last?.at, last?.what, last?.facts], ['2026-01-02T00:00:00.000Z', 'proved', { version: 7 }])
  assert.equal(((await stat(join(folder.path, 'audit.ndjson'))).mode & 0o777).toString(8), '600')
})

test('a full file becomes the older one in place of the one before, and the chain goes on through both', async () => {
  await using folder = await makeTemporaryFolder()
  const audit = await openSound(folder.path)
  const reason = 'x'.repeat(500)
  const facts = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`reason${index}`, reason]))
  for (let count = 0; count < 90; count += 1) {
    await audit.append({ what: 'wanted', ...facts })
    const { older = '', current = '' } = await filesIn(folder.path)
    assert.ok(older.length <= MAX_FILE_BYTES && current.length <= MAX_FILE_BYTES)
  }
  const verdict = verifyAudit(await filesIn(folder.path), audit.head())
  assert.equal(verdict.state, 'intact')
  assert.ok((verdict.entries[0]?.seq ?? 0) > 1, 'the first file is gone')
  assert.deepEqual((await readdir(folder.path)).toSorted(), ['audit.1.ndjson', 'audit.ndjson'])
  const again = await openSound(folder.path)
  assert.deepEqual(again.head(), audit.head())
  assert.equal(again.recent(1_000).length, verdict.entries.length)
})

test('of many entries the newest are at hand', async () => {
  await using folder = await makeTemporaryFolder()
  const audit = await openSound(folder.path)
  for (let count = 0; count < MAX_RECENT + 5; count += 1) await audit.append({ what: 'wanted', count })
  const recent = audit.recent(1_000)
  assert.equal(recent.length, MAX_RECENT)
  assert.deepEqual(recent.at(-1)?.facts, { count: MAX_RECENT + 4 })
  assert.deepEqual(audit.recent(0), [])
})

test('half a line that a power cut has left is cut off and noted, and nothing else is said of it', async () => {
  await using folder = await makeTemporaryFolder()
  await (await openSound(folder.path)).append({ what: 'wanted' })
  const path = join(folder.path, 'audit.ndjson')
  const text = await readFile(path, 'utf8')
  for (const tail of ['{"seq":3,"at":"20', '\0\0\0']) {
    await writeFile(path, text + tail)
    const audit = await openSound(folder.path)
    assert.equal(audit.intact, true)
    assert.deepEqual(await whatIn(folder.path), ['trailBegun', 'wanted', 'trailCut'])
    assert.deepEqual(audit.recent(1)[0]?.facts, { bytes: tail.length })
    await audit.append({ what: 'proved' })
    assert.equal(verifyAudit(await filesIn(folder.path)).state, 'intact')
  }
  await writeFile(path, text.slice(0, 20))
  await openSound(folder.path)
  assert.deepEqual(await whatIn(folder.path), ['trailBegun', 'trailCut'])
})

test('a trail that was tampered with is kept as evidence, and the new one begins by saying so', async () => {
  await using folder = await makeTemporaryFolder()
  const first = await openSound(folder.path)
  await first.append({ what: 'wanted', to: 'sas' })
  const good = first.head()
  await first.append({ what: 'proved' })
  const path = join(folder.path, 'audit.ndjson')
  const changed = (await readFile(path, 'utf8')).replace('proved', 'failed')
  await writeFile(path, changed)
  const { audit, troubles } = await openedIn(folder.path)
  assert.deepEqual(codesOf(troubles), ['AUDIT_TAMPERED'])
  assert.match(troubles[0]?.message ?? '', /what follows line 2 was changed; .*\.tampered-/)
  assert.equal(audit.intact, false)
  assert.equal(await readFile(path + ASIDE, 'utf8'), changed)
  const [begun] = verifyAudit(await filesIn(folder.path)).entries
  assert.deepEqual([begun?.seq, begun?.what], [1, 'trailTampered'])
  assert.deepEqual(begun?.facts, {
    why: 'what follows line 2 was changed',
    lastGoodSeq: good.seq,
    lastGoodHash: good.hash,
  })
  await audit.append({ what: 'wanted' })
  const again = await openSound(folder.path)
  assert.equal(again.intact, false, 'it is not forgotten with a restart')
  assert.deepEqual(await whatIn(folder.path), ['trailTampered', 'wanted'])
})

test('bytes that are no text are kept as they were', async () => {
  await using folder = await makeTemporaryFolder()
  const bytes = Buffer.from([0xff, 0xfe, 0x0a, 0x00])
  await writeFile(join(folder.path, 'audit.ndjson'), bytes)
  assert.deepEqual(codesOf((await openedIn(folder.path)).troubles), ['AUDIT_TAMPERED'])
  assert.deepEqual(await readFile(join(folder.path, `audit.ndjson${ASIDE}`)), bytes)
})

/** A trail of two files. */
async function longTrailIn(folder: string): Promise<void> {
  const audit = await openSound(folder)
  const facts = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`reason${index}`, 'x'.repeat(500)]))
  while ((await filesIn(folder)).older === undefined) await audit.append({ what: 'wanted', ...facts })
}

test('an older file that is changed, or gone, is tampering too', async () => {
  for (const change of ['changed', 'gone'] as const) {
    await using folder = await makeTemporaryFolder()
    await longTrailIn(folder.path)
    const older = join(folder.path, 'audit.1.ndjson')
    if (change === 'gone') await rm(older)
    else await writeFile(older, (await readFile(older, 'utf8')).replace('xx', 'xy'))
    const { troubles } = await openedIn(folder.path)
    assert.deepEqual(codesOf(troubles), ['AUDIT_TAMPERED'], change)
    const kept = change === 'gone' ? [`audit.ndjson${ASIDE}`] : [`audit.1.ndjson${ASIDE}`, `audit.ndjson${ASIDE}`]
    assert.deepEqual((await readdir(folder.path)).toSorted(), [...kept, 'audit.ndjson'].toSorted())
    assert.deepEqual(await whatIn(folder.path), ['trailTampered'])
  }
})

test('wherever the answer to tampering is cut off, it is found again, and nothing of the evidence is lost', async () => {
  for (const loss of losses) {
    let allowed = 0
    for (; ; allowed += 1) {
      await using folder = await makeTemporaryFolder()
      await longTrailIn(folder.path)
      const older = join(folder.path, 'audit.1.ndjson')
      const changed = (await readFile(older, 'utf8')).replace('xx', 'xy')
      await writeFile(older, changed)
      let told = false
      const cut = await cutAfter(allowed, loss, async () => {
        const audit = await openAudit(join(folder.path, 'audit.ndjson'), clock, ({ code, cause }) => {
          told = code === 'AUDIT_TAMPERED'
          if (!told) throw cause
        })
        assert.equal(audit.intact, false)
      })
      const when = `cut after ${allowed} calls, ${JSON.stringify(loss)}`
      const { audit, troubles } = await openedIn(folder.path)
      assert.equal(audit.intact, false, when)
      assert.ok(cut || told)
      assert.ok(troubles.length <= 1)
      assert.deepEqual(await whatIn(folder.path), ['trailTampered'], when)
      assert.equal(await readFile(older + ASIDE, 'utf8'), changed, when)
      if (!cut) break
    }
    assert.ok(allowed > 10, 'it was cut at every call')
  }
})

test('wherever an append is cut off, what was appended before is there, and no power cut passes for tampering', async () => {
  await using long = await makeTemporaryFolder()
  const facts = { reason: 'x'.repeat(500), more: 'x'.repeat(500) }
  const filling = await openSound(long.path)
  let full = ''
  for (; full.length < MAX_FILE_BYTES - 1_000; full = (await filesIn(long.path)).current ?? '') {
    await filling.append({ what: 'wanted', ...facts })
  }
  const some = `${full.split('\n').slice(0, 3).join('\n')}\n`
  const starts = { 'the first': undefined, 'one in the middle': some, 'a new file': full }
  for (const [name, start] of Object.entries(starts)) {
    for (const loss of losses) {
      let allowed = 0
      for (; ; allowed += 1) {
        await using folder = await makeTemporaryFolder()
        if (start !== undefined) await writeFile(join(folder.path, 'audit.ndjson'), start)
        const appended: string[] = []
        const cut = await cutAfter(allowed, loss, async () => {
          const audit = await openAudit(join(folder.path, 'audit.ndjson'), clock, ({ cause }) => {
            throw cause
          })
          for (const what of ['one', 'two']) {
            await audit.append({ what, ...facts })
            appended.push(what)
          }
        })
        const when = `${name}, cut after ${allowed} calls, ${JSON.stringify(loss)}`
        const audit = await openSound(folder.path)
        assert.equal(audit.intact, true, when)
        const seen = (await whatIn(folder.path)).filter((what) => ['one', 'two'].includes(what))
        assert.deepEqual(seen.slice(0, appended.length), appended, when)
        await audit.append({ what: 'after' })
        assert.equal(verifyAudit(await filesIn(folder.path), audit.head()).state, 'intact', when)
        assert.equal((await filesIn(folder.path)).older !== undefined && !cut, start === full && !cut, when)
        if (!cut) break
      }
      assert.ok(allowed >= 6, 'it was cut at every call')
    }
  }
})

test('on a full disk nothing waits: it is told once, and what could not be written is written with the next', async () => {
  await using folder = await makeTemporaryFolder()
  const { audit, troubles } = await openedIn(folder.path)
  await audit.append({ what: 'wanted' })
  const before = await readFile(join(folder.path, 'audit.ndjson'), 'utf8')
  using disk = fullDisk(30)
  for (const what of ['prepared', 'registered']) await audit.append({ what })
  assert.deepEqual(codesOf(troubles), ['DISK_FULL'])
  assert.equal(audit.head().seq, 2, 'what is not durable does not count')
  disk.room = Number.POSITIVE_INFINITY
  await audit.append({ what: 'proved' })
  assert.deepEqual(await whatIn(folder.path), ['trailBegun', 'wanted', 'prepared', 'registered', 'proved'])
  assert.ok((await readFile(join(folder.path, 'audit.ndjson'), 'utf8')).startsWith(before))
  disk.room = 0
  await audit.append({ what: 'committed' })
  assert.deepEqual(codesOf(troubles), ['DISK_FULL', 'DISK_FULL'], 'and told again the next time')
})

test('a disk that is full from the first line on leaves no half of it behind', async () => {
  await using folder = await makeTemporaryFolder()
  const { audit, troubles } = await openedIn(folder.path)
  using disk = fullDisk(30)
  await audit.append({ what: 'wanted' })
  assert.deepEqual(codesOf(troubles), ['DISK_FULL'])
  disk.room = Number.POSITIVE_INFINITY
  await audit.append({ what: 'prepared' })
  assert.deepEqual(await whatIn(folder.path), ['trailBegun', 'wanted', 'prepared'])
})

test('what waits for the disk is bounded, and what had no room is counted', async () => {
  await using folder = await makeTemporaryFolder()
  const { audit } = await openedIn(folder.path)
  using disk = fullDisk(0)
  for (let count = 0; count < MAX_QUEUED + 7; count += 1) await audit.append({ what: 'wanted', count })
  disk.room = Number.POSITIVE_INFINITY
  await audit.append({ what: 'proved' })
  const { entries } = verifyAudit(await filesIn(folder.path))
  assert.equal(entries.filter(({ what }) => what === 'wanted').length, MAX_QUEUED)
  assert.deepEqual(entries[1]?.facts, { count: 0 }, 'the oldest are kept: they tell the cause')
  assert.deepEqual([entries.at(-1)?.what, entries.at(-1)?.facts], ['trailDropped', { dropped: 8 }])
})

test('a trail that cannot be opened yet keeps what happens until it can', async () => {
  await using folder = await makeTemporaryFolder()
  const state = join(folder.path, 'state')
  await writeFile(state, 'in the way')
  const { audit, troubles } = await openedIn(state)
  await audit.append({ what: 'wanted' })
  assert.deepEqual(codesOf(troubles), ['STATE_UNWRITABLE'])
  await rm(state)
  await fileSystem.mkdir(state)
  await audit.append({ what: 'proved' })
  assert.deepEqual(await whatIn(state), ['trailBegun', 'wanted', 'proved'])
})
