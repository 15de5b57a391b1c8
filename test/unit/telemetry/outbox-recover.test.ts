/** Every page of a real file in turn, and all the ways in which a whole file goes: what was not hit is there, unchanged. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { placeOf } from '../../../agent/telemetry/outbox/schema.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { fill, hashOf, layoutOf, mend, streams, without } from './outbox-torn-kit.ts'
import type { Content, Filled, Layout } from './outbox-torn-kit.ts'

const PAGE = 4096

let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>
let path: string
let filled: Filled
let layout: Layout
/** All of it in one file, with free pages of what was acknowledged. */
let whole: Buffer

before(async () => {
  folder = await makeTemporaryFolder()
  path = join(folder.path, 'mended.db')
  const source = join(folder.path, 'outbox.db')
  filled = fill(source)
  for (let step = 0; step < 30; step += 1) {
    filled.append(40)
    if (step % 3 === 2) filled.acknowledge(10)
  }
  filled.acknowledge(100)
  filled.append(10)
  filled.database.exec(`INSERT INTO dropped VALUES ('full', 7), ('torn', 3)`)
  filled.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  layout = layoutOf(filled.database)
  whole = await readFile(source)
})
after(async () => {
  filled[Symbol.dispose]()
  await folder[Symbol.asyncDispose]()
})

const all = () => without(filled.kept, layout, new Set())

/** At least this, and nothing but what is kept: of a page that is lost, a page in use no more may have a copy. */
function is(content: Content, expected: Content, where = ''): void {
  const missing = [...expected.keys()].filter((place) => !content.has(place))
  const surplus = [...content.keys()].filter((place) => !filled.kept.has(place))
  assert.deepEqual({ missing, surplus }, { missing: [], surplus: [] }, where)
  holds(content, expected)
}

/** The pages by these numbers become what `make` makes. */
function withPages(pages: Iterable<number>, make: () => Uint8Array): Buffer {
  const copy = Buffer.from(whole)
  for (const page of pages) copy.set(make(), (page - 1) * PAGE)
  return copy
}

/** At least this, and nothing that never was: what had been acknowledged may come back. */
function holds(content: Content, expected: Content): void {
  for (const [place, hash] of expected) assert.equal(content.get(place), hash, `sample ${place}`)
  for (const [place, hash] of content) {
    const row = filled.ever.get(place)
    assert.equal(row && hashOf(row), hash, `nobody stored ${place} like that`)
  }
}

test('the file that is damaged here has thousands of samples, long ones, free pages and pages above pages', () => {
  assert.ok(filled.kept.size > 2_500)
  assert.ok([...layout.samples.values()].some((pages) => pages.size > 3))
  const used = [...layout.tables.values()].flat().length
  assert.ok(layout.pageCount > used + 20, `${layout.pageCount} pages, ${used} in use`)
  assert.equal(layout.samples.size, filled.kept.size)
})

test('a file without damage gives all of its samples, nothing else, and is sure of it', async () => {
  const mended = await mend(path, whole)
  is(mended.content, all())
  const { recovered, lost, isUnsure, dropped } = mended
  assert.deepEqual(
    { recovered, lost, isUnsure, dropped },
    {
      ...{ recovered: filled.kept.size, lost: 0, isUnsure: false },
      dropped: { full: 7, torn: 3 },
    },
  )
  for (const { place, name, priority } of mended.rows) {
    const [, wanted, of] = streams.find(([key]) => place > placeOf(key, 0) && place < placeOf(key + 1, 0)) ?? []
    assert.deepEqual([priority, name], [wanted, of])
  }
})

test('samples come oldest first within their stream', async () => {
  const places = (await mend(path, whole)).rows.map(({ place }) => place)
  assert.deepEqual(
    places,
    places.toSorted((one, other) => one - other),
  )
})

function someSamplePages(): readonly number[] {
  return Array.from({ length: Math.floor(layout.pageCount / 25) }, (_, index) => 1 + index * 25)
}

for (const [how, make] of [
  ['random bytes', () => randomBytes(PAGE)],
  ['zeros', () => new Uint8Array(PAGE)],
] as const)
  test(`a page becomes ${how}, and all samples that have no part in it are there unchanged`, async () => {
    const inUse = new Set([...layout.tables.values()].flat())
    const others = [...layout.tables].flatMap(([name, pages]) => (name === 'samples' ? [] : pages))
    for (const page of [...others, ...someSamplePages()]) {
      const expected = without(filled.kept, layout, new Set([page]))
      const { content, isUnsure } = await mend(path, withPages([page], make))
      // Without the schema and the list of free pages nobody knows what was acknowledged.
      if (page === 1 || !inUse.has(page)) holds(content, expected)
      else is(content, expected, `page ${page}`)
      if (inUse.has(page)) assert.ok(isUnsure, `page ${page} is missing`)
    }
  })

test('what is missing between samples is counted', async () => {
  const [leaf = 0] = layout.samples.get(placeOf(2, 600)) ?? []
  const { recovered, lost, isUnsure } = await mend(
    path,
    withPages([leaf], () => randomBytes(PAGE)),
  )
  assert.equal(recovered, without(filled.kept, layout, new Set([leaf])).size)
  assert.deepEqual({ lost, isUnsure }, { lost: filled.kept.size - recovered, isUnsure: true })
})

test('a header of zeros costs nothing', async () => {
  const { content, isUnsure } = await mend(path, Buffer.concat([Buffer.alloc(100), whole.subarray(100)]))
  holds(content, all())
  assert.ok(isUnsure)
})

test('a file that ends in the middle gives what is before', async () => {
  for (const pages of [1, 7, 100, Math.floor(layout.pageCount / 2), layout.pageCount - 1]) {
    const lost = new Set(Array.from({ length: layout.pageCount - pages }, (_, index) => pages + 1 + index))
    const expected = without(filled.kept, layout, lost)
    const mended = await mend(path, whole.subarray(0, pages * PAGE))
    holds(mended.content, expected)
    assert.ok(mended.isUnsure)
    holds((await mend(path, whole.subarray(0, pages * PAGE + 1_000))).content, expected)
  }
})

test('a tenth of all pages at once costs only what was on them', async () => {
  for (let round = 0; round < 10; round += 1) {
    const lost = new Set(
      Array.from({ length: layout.pageCount }, (_, index) => index + 1).filter((page) => page % 10 === round),
    )
    holds(
      (
        await mend(
          path,
          withPages(lost, () => randomBytes(PAGE)),
        )
      ).content,
      without(filled.kept, layout, lost),
    )
  }
})

/** What the streams are called when these pages are lost. */
async function names(pages: readonly number[]): Promise<readonly string[]> {
  const { rows, content } = await mend(
    path,
    withPages(pages, () => randomBytes(PAGE)),
  )
  is(content, all())
  return [...new Set(rows.map(({ name, priority }) => `${priority} ${name}`))].toSorted()
}

test('streams keep their names while their table or its index is left, and are called `recovered` without both', async () => {
  const table = layout.tables.get('streams') ?? []
  const index = layout.tables.get('sqlite_autoindex_streams_1') ?? []
  assert.deepEqual(await names(table), ['alarm line', 'audit door', 'telemetry line'])
  assert.deepEqual(await names(index), ['alarm line', 'audit door', 'telemetry line'])
  assert.deepEqual(await names([...table, ...index]), ['telemetry recovered'])
})

test('a file that is no database gives nothing, and is no reason to stop', async () => {
  const others = [
    '',
    'x',
    'hello\n'.repeat(10_000),
    '\n'.repeat(50_000),
    '\r'.repeat(50_000),
    randomBytes(100_000),
    Buffer.alloc(40_960),
  ]
  for (const other of others) {
    const { recovered, lost, isUnsure } = await mend(path, Buffer.from(other))
    assert.deepEqual({ recovered, lost, isUnsure }, { recovered: 0, lost: 0, isUnsure: true })
    assert.equal((await mend(path, Buffer.from(other), Buffer.from(other))).recovered, 0)
  }
})

/** What SQLite does to the file. */
async function changed(...statements: readonly string[]): Promise<Buffer> {
  const file = join(folder.path, 'changed.db')
  await rm(file, { force: true })
  await writeFile(file, whole)
  const database = new DatabaseSync(file, { defensive: false })
  for (const statement of statements) database.exec(statement)
  database.close()
  return readFile(file)
}

test('a schema that forgot its tables costs nothing', async () => {
  const forgot = await changed('PRAGMA writable_schema = ON', 'DELETE FROM sqlite_schema')
  holds((await mend(path, forgot)).content, all())
})

test('tables that were dropped give what was not written over', async () => {
  const without_ = await changed('DROP TABLE samples', 'DROP TABLE streams')
  const hit = new Set<number>()
  for (let page = 1; page <= layout.pageCount; page += 1) {
    const [at, end] = [(page - 1) * PAGE, page * PAGE]
    if (!whole.subarray(at, end).equals(without_.subarray(at, end))) hit.add(page)
  }
  assert.ok(hit.size < 20)
  holds((await mend(path, without_)).content, without(filled.kept, layout, hit))
})
