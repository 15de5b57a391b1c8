/** A damaged file beside its -wal, whole or torn; and a recovery that is cut off, runs out of time or out of room. */
import assert from 'node:assert/strict'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { finishRecovery, isUnfinished, recover } from '../../../agent/telemetry/outbox/recover.ts'
import type { RecoveredRow } from '../../../agent/telemetry/outbox/recover.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { fill, hashOf, layoutOf, mend, without } from './outbox-torn-kit.ts'
import type { Content, Filled, Layout } from './outbox-torn-kit.ts'

const HEADER = 32
const FRAME = 24 + 4096

let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>
let path: string
let filled: Filled
let layout: Layout
/** Half of what is kept is in the -wal only; behind that are frames from before the last checkpoint. */
let file: Buffer
let wal: Buffer
/** Frames of the -wal since the last checkpoint, each as the page that it holds. */
let frames: readonly number[]

before(async () => {
  folder = await makeTemporaryFolder()
  path = join(folder.path, 'mended.db')
  const source = join(folder.path, 'outbox.db')
  filled = fill(source, 2)
  for (let step = 0; step < 10; step += 1) filled.append(15)
  filled.database.exec('PRAGMA wal_checkpoint(FULL)')
  for (let step = 0; step < 6; step += 1) {
    filled.append(8)
    filled.acknowledge(3)
  }
  layout = layoutOf(filled.database)
  file = await readFile(source)
  wal = await readFile(`${source}-wal`)
  const salt = wal.subarray(16, 24)
  const all = Array.from({ length: Math.floor((wal.length - HEADER) / FRAME) }, (_, index) => frame(index))
  frames = all.filter((one) => one.subarray(8, 16).equals(salt)).map((one) => one.readUInt32BE(0))
  assert.ok(frames.length > 30 && all.length > frames.length)
})
after(async () => {
  filled[Symbol.dispose]()
  await folder[Symbol.asyncDispose]()
})

const frame = (index: number) => wal.subarray(HEADER + index * FRAME, HEADER + (index + 1) * FRAME)

const all = () => without(filled.kept, layout, new Set())

/** At least this, and nothing that never was. */
function holds(content: Content, expected: Content, where = ''): void {
  assert.deepEqual(
    [...expected.keys()].filter((place) => !content.has(place)),
    [],
    where,
  )
  for (const [place, hash] of content) {
    const row = filled.ever.get(place)
    assert.equal(row && hashOf(row), hash, `nobody stored ${place} like that ${where}`)
  }
}

/** What SQLite itself reads of such a pair. */
async function readBySqlite(withWal: Uint8Array): Promise<readonly number[]> {
  const copy = join(folder.path, 'sqlite.db')
  for (const suffix of ['', '-wal', '-shm']) await rm(`${copy}${suffix}`, { force: true })
  await writeFile(copy, file)
  await writeFile(`${copy}-wal`, withWal)
  const database = new DatabaseSync(copy)
  const places = database.prepare('SELECT place FROM samples ORDER BY place').all()
  database.close()
  return places.map(({ place }) => Number(place))
}

test('what is in the -wal only is there, and what it took out is not', async () => {
  const { content, isUnsure, lost } = await mend(path, file, wal)
  assert.deepEqual(content, new Map([...all()].toSorted(([one], [other]) => one - other)))
  assert.deepEqual({ isUnsure, lost }, { isUnsure: false, lost: 0 })
})

test('with the header of the file gone, the -wal is honoured all the same', async () => {
  const { content } = await mend(path, Buffer.concat([Buffer.alloc(4096), file.subarray(4096)]), wal)
  holds(content, all())
})

test('without the file the -wal gives the samples on its pages', async () => {
  const lost = new Set(
    Array.from({ length: layout.pageCount }, (_, index) => index + 1).filter((page) => !frames.includes(page)),
  )
  const expected = without(filled.kept, layout, lost)
  assert.ok(expected.size > 50)
  holds((await mend(path, Buffer.alloc(0), wal)).content, expected)
})

test('a -wal that ends early gives what SQLite reads of it, but for what was being removed', async () => {
  for (let index = 0; index <= frames.length; index += 1) {
    const short = wal.subarray(0, HEADER + index * FRAME + (index % 3) * 1_000)
    const { content } = await mend(path, file, short)
    const kept = (await readBySqlite(short)).filter((place) => filled.kept.has(place))
    assert.deepEqual(
      kept.filter((place) => !content.has(place)),
      [],
      `${index} frames`,
    )
    holds(content, new Map(), `${index} frames`)
  }
})

test('a damaged frame costs what is on its page, and nothing of what was written after it', async () => {
  for (const [index, page] of frames.entries()) {
    const at = [12, 18, 3_000][index % 3] ?? 0
    const torn = Buffer.from(wal)
    const from = HEADER + index * FRAME + at
    torn.set([0xff ^ torn.readUInt8(from)], from)
    const { content, isUnsure } = await mend(path, file, torn)
    // One in whose head the sum is damaged takes the next with it.
    const lost = at === 18 ? [page, frames[index + 1] ?? page] : [page]
    holds(content, without(filled.kept, layout, new Set(lost)), `frame ${index}, byte ${at}`)
    // With another salt the last one looks like what was before the last checkpoint.
    if (index < frames.length - 1) assert.ok(isUnsure, `frame ${index}, byte ${at}`)
  }
})

test('a commit that is damaged costs what is on its page, and not the rest of the transaction', async () => {
  let saved = 0
  for (const index of frames.keys()) {
    if (frame(index).readUInt32BE(4) === 0) continue
    const before = new Set(await readBySqlite(wal.subarray(0, HEADER + index * FRAME)))
    const after = await readBySqlite(wal.subarray(0, HEADER + (index + 1) * FRAME))
    const { content } = await mend(path, file, wal.subarray(0, HEADER + index * FRAME))
    for (const row of after.flatMap((place) => filled.ever.get(place) ?? [])) {
      const isShort = row.body.length < 3_000
      if (before.has(row.place) || !isShort || !wal.subarray(0, HEADER + index * FRAME).includes(row.id)) continue
      assert.equal(content.get(row.place), hashOf(row))
      saved += 1
    }
  }
  assert.ok(saved > 20, `${saved} samples`)
})

test('a -wal whose own header is damaged costs the first page at most', async () => {
  const torn = Buffer.concat([Buffer.alloc(HEADER), wal.subarray(HEADER)])
  holds((await mend(path, file, torn)).content, without(filled.kept, layout, new Set(frames.slice(0, 1))))
})

/** Lays the pair down, as after damage. */
async function damage(): Promise<void> {
  for (const name of await readdir(folder.path)) if (name.startsWith('mended.db')) await rm(join(folder.path, name))
  await writeFile(path, file)
  await writeFile(`${path}-wal`, wal)
}

async function rows(clock = createFakeClock()): Promise<readonly RecoveredRow[]> {
  const taken: RecoveredRow[] = []
  await recover(path, (some) => void taken.push(...some), clock)
  return taken
}

const names = async () => (await readdir(folder.path)).filter((name) => name.startsWith('mended.db')).toSorted()

test('the damaged file is kept under a name that says so, and only the newest', async () => {
  for (const day of [1, 2]) {
    await damage()
    await rows()
    assert.equal(await isUnfinished(path), true)
    const aside = await finishRecovery(path, Date.UTC(2026, 0, day))
    assert.equal(aside, `${path}.unreadable-2026-01-0${day}T000000.000Z`)
    assert.equal(await isUnfinished(path), false)
    assert.deepEqual(await readFile(aside), file)
    assert.deepEqual(await readFile(`${aside}-wal`), wal)
  }
  await damage()
  for (const name of ['unreadable-2025-01-01T000000.000Z', 'unreadable-2025-01-01T000000.000Z-wal'])
    await writeFile(`${path}.${name}`, 'old')
  await rows()
  const aside = 'mended.db.unreadable-2026-01-03T000000.000Z'
  await finishRecovery(path, Date.UTC(2026, 0, 3))
  assert.deepEqual(await names(), [aside, `${aside}-wal`])
})

test('a recovery that is cut off anywhere begins again with everything', async () => {
  await damage()
  const wanted = (await rows()).map(hashOf)
  const again = async () => assert.deepEqual((await rows()).map(hashOf), wanted)
  await again()

  await damage()
  await writeFile(`${path}.damaged`, file)
  await rm(path)
  assert.equal(await isUnfinished(path), true, 'between the file and its -wal')
  await again()

  for (const left of ['', '-wal', '-journal']) await writeFile(`${path}${left}`, 'a part')
  await again()
  assert.deepEqual(await names(), ['mended.db.damaged', 'mended.db.damaged-wal'])

  await writeFile(path, 'the new file')
  await finishRecovery(path, 0)
  assert.equal(await readFile(path, 'utf8'), 'the new file')
})

test('a -wal left from a recovery that was cut off at its very end is not taken for that of the next damage', async () => {
  await damage()
  await rm(`${path}-wal`)
  await writeFile(`${path}.damaged-wal`, wal)
  const taken = new Set((await rows()).map(({ place }) => place))
  const expected = [...filled.kept.keys()].filter((place) => !taken.has(place))
  assert.ok(expected.length > 50)
})

test('a disk without room for the new file is no damage: it is told, and the next try has everything', async () => {
  await damage()
  const full = new Failure('DISK_FULL', 'no room')
  await assert.rejects(
    recover(path, () => Promise.reject(full), createFakeClock()),
    full,
  )
  assert.equal(await isUnfinished(path), true)
  assert.equal((await rows()).length, filled.kept.size)
})

test('the event loop has its turn between few samples', async () => {
  await damage()
  let turns = 0
  let isDone = false
  const turn = () => {
    turns += 1
    if (!isDone) setImmediate(turn)
  }
  turn()
  const sizes: number[] = []
  const between: number[] = []
  await recover(path, (some) => void (sizes.push(some.length), between.push(turns)), createFakeClock())
  isDone = true
  assert.ok(sizes.every((size) => size <= 500))
  assert.ok(new Set(between).size === sizes.length && turns > frames.length, `${turns} turns`)
})

test('recovery ends after a minute, with what it has', async () => {
  await damage()
  const clock = createFakeClock()
  let askedMs = 0
  const slow = { monotonicMs: () => (askedMs += 500) }
  const taken: RecoveredRow[] = []
  const recovery = await recover(path, (some) => void taken.push(...some), { ...clock, ...slow })
  assert.ok(taken.length > 0 && taken.length < filled.kept.size)
  assert.equal(recovery.recovered, taken.length)
  assert.equal(recovery.isUnsure, true)
  assert.ok(askedMs <= 62_000, `${askedMs}`)
})
