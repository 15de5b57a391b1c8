/** A state folder on a disk that runs full while samples are appended, or takes nothing more at all. */
import assert from 'node:assert/strict'
import { cp, mkdir, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { asFailure } from '../../agent/failure.ts'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import type { Outbox } from '../../agent/telemetry/outbox/port.ts'
import { recover } from '../../agent/telemetry/outbox/recover.ts'
import { createFakeClock } from '../kit/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { outboxOptions, parcelsOf } from '../kit/outbox.ts'
import { inNamespace, mayEnterNamespace, mountTrouble, openFailingDisk, openSmallDisk } from '../kit/small-disk.ts'
import { parseId, sampleOf } from './outbox-content.ts'

const isElsewhere = mayEnterNamespace()
const skip = isElsewhere ? 'in a namespace of its own' : ((await mountTrouble()) ?? false)

test('the tests of full disks, in a namespace where a user may mount', { skip: !isElsewhere }, () =>
  inNamespace(fileURLToPath(import.meta.url)),
)

const WRITERS = [0, 1, 2, 3, 4]

/** Appends of several callers at once, each until it is refused. */
async function appendAll(outbox: Outbox, first: number, rounds: number): Promise<Appended> {
  const kept: string[] = []
  const refused: string[] = []
  await Promise.all(
    WRITERS.map(async (writer) => {
      for (let round = 0; round < rounds; round += 1) {
        const samples = [0, 1].map((index) => sampleOf(writer, first + 2 * round + index))
        try {
          await outbox.append(samples, 'synced')
          kept.push(...samples.map(({ id }) => id))
        } catch (error) {
          refused.push(asFailure(error).code)
          return
        }
      }
    }),
  )
  return { kept, refused: [...new Set(refused)] }
}

interface Appended {
  readonly kept: readonly string[]
  readonly refused: readonly string[]
}

/** IDs of what is kept, which is as it was handed in, and that of each writer in its order. */
function idsIn(outbox: Outbox): readonly string[] {
  const names = new Set(outbox.streams().map(({ name }) => name))
  const samples = [...names].flatMap((name) => parcelsOf(outbox, name).flatMap((parcel) => parcel.samples))
  for (const sample of samples) assert.deepEqual(sample, sampleOf(...parseId(sample.id)))
  for (const writer of WRITERS) {
    const numbers = samples.map(({ id }) => parseId(id)).filter(([of]) => of === writer)
    const inOrder = numbers.toSorted(([, one], [, other]) => one - other)
    assert.deepEqual(numbers, inOrder)
  }
  return samples.map(({ id }) => id)
}

/** What the next start finds if the agent is killed now. */
async function idsAfterKill(stateDir: string): Promise<readonly string[]> {
  await using folder = await makeTemporaryFolder()
  await cp(stateDir, join(folder.path, 'state'), { recursive: true })
  const { options, failures } = outboxOptions()
  await using outbox = await openOutbox(join(folder.path, 'state', 'outbox.db'), options)
  assert.deepEqual(failures, [])
  return idsIn(outbox)
}

/** Takes out the oldest of each stream; IDs of those. */
function acknowledge(outbox: Outbox, count: number): readonly string[] {
  return outbox.streams().flatMap(({ key, head }) => {
    const ids: string[] = []
    for (let after = head - 1; ids.length < count;) {
      const parcel = outbox.next(key, after)
      if (parcel === undefined) break
      outbox.acknowledge(parcel)
      ids.push(...parcel.samples.map(({ id }) => id))
      after = parcel.last
    }
    return ids
  })
}

/** What a lost first sector does. */
async function tearHeader(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(Buffer.alloc(100), 0, 100, 0)
}

/** Lets everything run until this is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

const sorted = (ids: Iterable<string>) => [...ids].toSorted()
const without = (ids: readonly string[], gone: readonly string[]) => ids.filter((id) => !gone.includes(id))

test('a full disk refuses, loses nothing, lets go of what was sent, and goes on by itself', { skip }, async () => {
  await using disk = await openSmallDisk(6_000_000)
  const stateDir = join(disk.path, 'state')
  const { clock, options, failures } = outboxOptions()
  await using outbox = await openOutbox(join(stateDir, 'outbox.db'), options)

  const first = await appendAll(outbox, 0, 20)
  assert.deepEqual(first.refused, [])
  const filling = appendAll(outbox, 1_000, 10_000)
  await disk.fill()
  const second = await filling
  assert.deepEqual(second.refused, ['DISK_FULL'])
  assert.deepEqual(await appendAll(outbox, 5_000_000, 1), { kept: [], refused: ['DISK_FULL'] })
  assert.equal(outbox.level().trouble?.code, 'DISK_FULL')
  assert.deepEqual(
    failures.map(({ code }) => code),
    ['DISK_FULL'],
  )
  const kept = [...first.kept, ...second.kept]
  assert.deepEqual(sorted(idsIn(outbox)), sorted(kept))
  assert.deepEqual(sorted(await idsAfterKill(stateDir)), sorted(kept))

  const gone = acknowledge(outbox, 10)
  assert.equal(gone.length, 40)
  const left = without(kept, gone)
  assert.deepEqual(sorted(idsIn(outbox)), sorted(left))
  await clock.advance(2_000)
  assert.deepEqual(without(left, await idsAfterKill(stateDir)), [], 'nothing is lost by that')

  await disk.free()
  const third = await appendAll(outbox, 6_000_000, 5)
  assert.deepEqual(third.refused, [])
  assert.equal(outbox.level().trouble, undefined)
  assert.deepEqual(sorted(idsIn(outbox)), sorted([...left, ...third.kept]))
  assert.deepEqual(sorted(await idsAfterKill(stateDir)), sorted([...left, ...third.kept]))
  assert.equal(failures.length, 1)
})

test('an outbox that has filled its disk goes on with the room of what was sent', { skip }, async () => {
  await using disk = await openSmallDisk(6_000_000)
  const { clock, options } = outboxOptions()
  await using outbox = await openOutbox(join(disk.path, 'state', 'outbox.db'), options)
  const first = await appendAll(outbox, 0, 10_000)
  assert.deepEqual(first.refused, ['DISK_FULL'])
  let { kept } = first
  for (let round = 1; round <= 5; round += 1) {
    kept = without(kept, acknowledge(outbox, 40))
    await clock.advance(60_000)
    const more = await appendAll(outbox, round * 1_000_000, 5)
    assert.ok(more.kept.length > 0, `round ${round}: ${more.refused.join(' ')}`)
    kept = [...kept, ...more.kept]
    assert.deepEqual(sorted(idsIn(outbox)), sorted(kept))
  }
})

test('a disk without any room at the start is told as DISK_FULL, and left as it was', { skip }, async () => {
  await using disk = await openSmallDisk(4_000_000)
  await disk.fill()
  const { options } = outboxOptions()
  const path = join(disk.path, 'outbox.db')
  await assert.rejects(openOutbox(path, options), { code: 'DISK_FULL' })
  await disk.free()
  await using outbox = await openOutbox(path, options)
  await outbox.append([sampleOf(0, 1)], 'synced')
  assert.deepEqual(idsIn(outbox), ['0-1'])
})

test(
  'a read-only file system is told at the start, and is no damage; read-write again, all is there',
  { skip },
  async () => {
    await using disk = await openSmallDisk(4_000_000)
    const path = join(disk.path, 'outbox.db')
    const { options, failures } = outboxOptions()
    let kept: readonly string[]
    {
      await using outbox = await openOutbox(path, options)
      kept = (await appendAll(outbox, 0, 10)).kept
    }
    const files = await readdir(disk.path)
    await disk.remount('ro')
    await assert.rejects(openOutbox(path, options), { code: 'STATE_UNWRITABLE' })
    await assert.rejects(
      recover(path, () => undefined, createFakeClock()),
      { code: 'STATE_UNWRITABLE' },
    )
    assert.deepEqual(await readdir(disk.path), files)
    await disk.remount('rw')
    await using outbox = await openOutbox(path, options)
    assert.deepEqual(sorted(idsIn(outbox)), sorted(kept))
    assert.deepEqual(failures, [])
  },
)

test('storage that turns read-only under an open outbox costs nothing that was answered', { skip }, async (t) => {
  const disk = await openFailingDisk().catch((error: unknown) => t.skip(`no loop device: ${String(error)}`))
  if (disk === undefined) return
  await using _ = disk
  const path = join(disk.path, 'state', 'outbox.db')
  const { clock, options, failures } = outboxOptions()
  let kept: readonly string[]
  {
    await using outbox = await openOutbox(path, options)
    const first = await appendAll(outbox, 0, 20)
    assert.deepEqual(first.refused, [])
    const appending = appendAll(outbox, 1_000, 10_000)
    await disk.fail()
    const second = await appending
    assert.deepEqual(second.refused, ['STATE_UNWRITABLE'])
    kept = [...first.kept, ...second.kept]
    assert.equal(outbox.level().trouble?.code, 'STATE_UNWRITABLE')
    // What was written when its sync failed is there as well, although nobody was told so.
    const stored = idsIn(outbox)
    assert.deepEqual(without(kept, stored), [])
    const gone = acknowledge(outbox, 5)
    await clock.advance(120_000)
    assert.deepEqual(sorted(idsIn(outbox)), sorted(without(stored, gone)))
    assert.equal(failures.length, 1)
  }
  await disk.restart()
  await using outbox = await openOutbox(path, options)
  const there = idsIn(outbox)
  assert.deepEqual(without(kept, there), [])
  await outbox.append([sampleOf(0, 9_000_000)], 'synced')
})

test('damage on a full disk is mended once there is room', { skip }, async () => {
  await using disk = await openSmallDisk(6_000_000)
  const stateDir = join(disk.path, 'state')
  const path = join(stateDir, 'outbox.db')
  await mkdir(stateDir)
  const { clock, options, failures } = outboxOptions()
  let kept: readonly string[]
  {
    await using outbox = await openOutbox(path, options)
    kept = (await appendAll(outbox, 0, 30)).kept
  }
  await tearHeader(path)
  await disk.fill()
  await using outbox = await openOutbox(path, options)
  assert.equal(outbox.level().place, 'mending')
  await assert.rejects(outbox.append([sampleOf(0, 8_000)], 'synced'), { code: 'OUTBOX_BUSY' })
  await until(() => failures.some(({ code }) => code === 'DISK_FULL'))
  await disk.free()
  await until(() => clock.pending().length > 0)
  await clock.advance(clock.pending()[0] ?? 0)
  await until(() => outbox.level().place === 'disk')
  assert.deepEqual(sorted(idsIn(outbox)), sorted(kept))
  await outbox.append([sampleOf(0, 9_000)], 'synced')
  assert.deepEqual(
    (await readdir(stateDir)).filter((name) => name.includes('damaged')),
    [],
  )
})
