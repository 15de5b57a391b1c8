import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openGoodTime, parseGoodTime } from '../../../agent/time/floor.ts'
import type { GoodTime } from '../../../agent/time/floor.ts'
import { createFakeClock } from '../../kit/clock.ts'
import type { FakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { createTestLog } from './kit.ts'
import type { TestLog } from './kit.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const build = Date.UTC(2026, 5, 1)
const start = Date.UTC(2026, 11, 1)

interface Place extends AsyncDisposable {
  readonly folder: string
  readonly path: string
  readonly clock: FakeClock
  readonly log: TestLog
  open(): Promise<GoodTime>
  /** What the file says, or undefined. */
  saved(): Promise<unknown>
}

async function makePlace(): Promise<Place> {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'clock')
  const clock = createFakeClock(start)
  const log = createTestLog()
  return {
    ...{ folder: folder.path, path, clock, log },
    open: () => openGoodTime({ path, clock, buildMs: build, log }),
    saved: async () => JSON.parse(await readFile(path, 'utf8').catch(() => 'null')) as unknown,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('the first trusted time is saved, readable by nobody else, and known after a restart', async () => {
  await using place = await makePlace()
  const good = await place.open()
  assert.equal(good.knownMs(), undefined)
  good.note(start)
  await good.save()
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start })
  assert.equal((await stat(place.path)).mode & 0o777, 0o600)
  assert.equal((await place.open()).knownMs(), start)
})

test('nothing is written as long as no time was trusted', async () => {
  await using place = await makePlace()
  const good = await place.open()
  await good.save()
  await good.save(true)
  assert.deepEqual(await readdir(place.folder), [])
})

test('it is written once an hour, whatever is known in between', async () => {
  await using place = await makePlace()
  const good = await place.open()
  for (let minute = 0; minute < 150; minute += 1) {
    good.note(place.clock.now())
    await good.save()
    await place.clock.advance(60_000)
  }
  assert.equal(good.knownMs(), start + 149 * 60_000)
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start + 2 * HOUR })
})

test('a restart does not make it write sooner, and a proven connection does', async () => {
  await using place = await makePlace()
  await place.open().then((good) => (good.note(start), good.save()))
  const good = await place.open()
  good.note(start + 60_000)
  await good.save()
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start })
  await good.save(true)
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start + 60_000 })
})

test('a trusted time that is up to a day earlier does not lower it', async () => {
  await using place = await makePlace()
  const good = await place.open()
  good.note(start)
  good.note(start - DAY)
  assert.equal(good.knownMs(), start)
  assert.deepEqual(place.log.lines, [])
})

test('a saved time more than a day ahead of a trusted one is corrected at once, on disk as well, and told', async () => {
  await using place = await makePlace()
  await writeFile(place.path, JSON.stringify({ version: 1, goodMs: start + 400 * DAY }))
  const good = await place.open()
  assert.equal(good.knownMs(), start + 400 * DAY)
  good.note(start)
  assert.equal(good.knownMs(), start)
  await good.save()
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start })
  assert.deepEqual(place.log.texts(), ['a saved time was wrong and is corrected'])
})

const unusable: readonly (readonly [name: string, text: string])[] = [
  ['torn', '{"version":1,"goodMs":17'],
  ['empty', ''],
  ['of another version', JSON.stringify({ version: 2, goodMs: start })],
  ['without a time', JSON.stringify({ version: 1 })],
  ['with a fraction', JSON.stringify({ version: 1, goodMs: 1.5 })],
  ['with a text', JSON.stringify({ version: 1, goodMs: String(start) })],
  ['negative', JSON.stringify({ version: 1, goodMs: -1 })],
  ['in 2099, in which no clock is trusted', JSON.stringify({ version: 1, goodMs: Date.UTC(2099, 0, 1) })],
]

for (const [name, text] of unusable) {
  test(`a file that is ${name} is set aside, told, and replaced by the next trusted time`, async () => {
    await using place = await makePlace()
    await writeFile(place.path, text)
    const good = await place.open()
    assert.equal(good.knownMs(), undefined)
    assert.deepEqual(place.log.codes(), ['STATE_TORN'])
    const [aside = ''] = await readdir(place.folder)
    assert.match(aside, /^clock\.unreadable-/)
    assert.equal(await readFile(join(place.folder, aside), 'utf8'), text)
    good.note(start)
    await good.save()
    assert.deepEqual(await place.saved(), { version: 1, goodMs: start })
  })
}

test('a file that cannot be read is told and is not fatal', async () => {
  await using place = await makePlace()
  await mkdir(place.path)
  const good = await place.open()
  assert.equal(good.knownMs(), undefined)
  assert.equal(place.log.codes().length, 1)
})

test('a write that fails is told once, tried once an hour, and told again only after one that worked', async () => {
  await using place = await makePlace()
  const good = await place.open()
  const hidden = `${place.folder}.away`
  const minutes = async (count: number) => {
    for (let minute = 0; minute < count; minute += 1) {
      good.note(place.clock.now())
      await good.save()
      await place.clock.advance(60_000)
    }
  }
  await rename(place.folder, hidden)
  await minutes(170)
  assert.deepEqual(place.log.codes(), ['STATE_UNWRITABLE'])
  await rename(hidden, place.folder)
  await minutes(10)
  assert.equal(await place.saved(), null)
  await minutes(1)
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start + 3 * HOUR })
  await rename(place.folder, hidden)
  await minutes(180)
  assert.deepEqual(place.log.codes(), ['STATE_UNWRITABLE', 'STATE_UNWRITABLE'])
  await rename(hidden, place.folder)
})

test('two saves at a time write one after the other', async () => {
  await using place = await makePlace()
  const good = await place.open()
  good.note(start)
  await Promise.all([good.save(), good.save(true), good.save()])
  assert.deepEqual(await readdir(place.folder), ['clock'])
  assert.deepEqual(await place.saved(), { version: 1, goodMs: start })
})

test('a time is read back as it was written, at the very limit as well', () => {
  const latest = Date.UTC(2056, 5, 1)
  assert.equal(parseGoodTime(JSON.stringify({ version: 1, goodMs: latest }), latest), latest)
  assert.equal(parseGoodTime(JSON.stringify({ version: 1, goodMs: latest + 1 }), latest), undefined)
})
