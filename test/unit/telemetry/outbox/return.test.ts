import assert from 'node:assert/strict'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Failure } from '../../../../agent/failure.ts'
import { openOutbox, openOutboxOrMemory } from '../../../../agent/telemetry/outbox/open.ts'
import type { Outbox, OutboxLimits } from '../../../../agent/telemetry/outbox/port.ts'
import { idsOf, outboxOptions, parcelsOf, sample } from '../../../kit/outbox.ts'
import type { Heard } from '../../../kit/outbox.ts'
import { inNamespace, mayEnterNamespace, mountTrouble, openSmallDisk } from '../../../kit/small-disk.ts'
import type { SmallDisk } from '../../../kit/small-disk.ts'

const isElsewhere = mayEnterNamespace()
const skip = isElsewhere ? 'in a namespace of its own' : ((await mountTrouble()) ?? false)

test('the return to a disk, in a namespace where a user may mount', { skip: !isElsewhere }, () =>
  inNamespace(fileURLToPath(import.meta.url)),
)

const DISK_BYTES = 16_000_000

/** An outbox that has found no file. */
interface Full extends Heard, AsyncDisposable {
  readonly path: string
  readonly disk: SmallDisk
  readonly outbox: Outbox
  /** How often it was told that the outbox is on disk. */
  returns(): number
  /** Makes room, lets 30 s pass, and waits until the outbox is on disk. */
  goBack(): Promise<void>
}

/**
 * An outbox whose disk is full when it is opened.
 *
 * @param earlier is in the file by then, and the disk is read-only instead: a file that is there needs no room
 * @param harm    what is done to that file
 */
async function openFull(
  limits: Partial<OutboxLimits> = {},
  earlier: Parameters<typeof sample>[] = [],
  harm: (path: string) => Promise<void> = async () => undefined,
): Promise<Full> {
  await using stack = new AsyncDisposableStack()
  const disk = stack.use(await openSmallDisk(DISK_BYTES))
  const path = join(disk.path, 'outbox.db')
  const back = Promise.withResolvers<void>()
  let returns = 0
  const onReturn = () => {
    returns += 1
    back.resolve()
  }
  const heard = outboxOptions(limits, { onReturn })
  if (earlier.length > 0) {
    await using before = await openOutbox(path, heard.options)
    await before.append(
      earlier.map((one) => sample(...one)),
      'synced',
    )
  }
  await harm(path)
  if (earlier.length > 0) await disk.remount('ro')
  else await disk.fill()
  const outbox = stack.use(await openOutboxOrMemory(path, heard.options))
  const all = stack.move()
  return {
    ...{ ...heard, path, disk, outbox },
    returns: () => returns,
    async goBack() {
      if (earlier.length > 0) await disk.remount('rw')
      else await disk.free()
      await heard.clock.advance(30_000)
      await back.promise
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** Lets everything run until this is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

const codes = (failures: readonly Failure[]) => failures.map(({ code }) => code)

test('opened on a full disk it is in memory, and on disk 30 s after there is room', { skip }, async () => {
  await using full = await openFull()
  const { outbox, clock } = full
  assert.deepEqual([outbox.level().place, codes(full.failures)], ['memory', ['OUTBOX_IN_MEMORY']])
  await assert.rejects(outbox.append([sample('no')], 'synced'), { code: 'OUTBOX_IN_MEMORY' })
  await outbox.append([sample('a'), sample('b')], 'relaxed')
  await outbox.append([sample('alarm', { stream: 't', priority: 'alarm' })], 'relaxed')
  await clock.advance(1000)
  const keptAtMs = clock.now()
  await outbox.append([sample('c')], 'relaxed')
  const [rings, epoch] = [outbox.arrived.rings(), outbox.epoch()]

  await clock.advance(29_000)
  await until(() => clock.pending().some((left) => left > 29_000))
  assert.deepEqual([outbox.level().place, full.returns()], ['memory', 0])
  assert.deepEqual(codes(full.failures), ['OUTBOX_IN_MEMORY'], 'the same is not told twice')

  await outbox.append([sample('d')], 'relaxed')
  await full.goBack()
  const { place, depth, trouble, maxBytes, oldestAtMs } = outbox.level()
  assert.deepEqual([place, depth, trouble, maxBytes], ['disk', 5, undefined, 1e9])
  assert.equal(oldestAtMs, keptAtMs, 'they are as old as they are')
  assert.deepEqual(idsOf(outbox), [['a'], ['b'], ['c'], ['d']])
  assert.deepEqual(idsOf(outbox, 't'), [['alarm']])
  assert.equal(outbox.streams().find(({ name }) => name === 't')?.priority, 'alarm')
  assert.ok(outbox.arrived.rings() > rings)
  assert.notEqual(outbox.epoch(), epoch)
  assert.equal(full.returns(), 1)
  await outbox.append([sample('e')], 'synced')

  await outbox[Symbol.asyncDispose]()
  await using found = await openOutbox(full.path, full.options)
  assert.deepEqual(idsOf(found), [['a'], ['b'], ['c'], ['d'], ['e']])
})

test('what the file holds already goes first', { skip }, async () => {
  await using full = await openFull({}, [['old 1'], ['old 2']])
  await full.outbox.append([sample('new')], 'relaxed')
  assert.deepEqual(idsOf(full.outbox), [])
  await full.goBack()
  assert.deepEqual(idsOf(full.outbox), [['old 1'], ['old 2'], ['new']])
})

test('an answer to a message of the time in memory removes nothing after the return', { skip }, async () => {
  await using full = await openFull({}, [['old']])
  const { outbox } = full
  await outbox.append([sample('sent'), sample('on its way'), sample('c')], 'relaxed')
  await full.clock.advance(1000)
  const [sent, underWay] = parcelsOf(outbox)
  assert.ok(sent !== undefined && underWay !== undefined)
  assert.equal(sent.epoch, outbox.epoch())
  outbox.acknowledge(sent)
  await full.goBack()
  outbox.acknowledge(underWay)
  outbox.setAside(underWay, new Failure('MESSAGE_REFUSED', 'too large'))
  assert.deepEqual(idsOf(outbox), [['old'], ['on its way'], ['c']])
  const [first] = parcelsOf(outbox)
  assert.ok(first)
  assert.equal(first.epoch, outbox.epoch())
  outbox.acknowledge(first)
  assert.deepEqual(idsOf(outbox), [['on its way'], ['c']])
})

test('a message keeps its content: a batch shares with nobody new', { skip }, async () => {
  await using full = await openFull({ batchSamples: 3 })
  const { outbox, clock } = full
  await outbox.append([sample('a'), sample('b'), sample('c'), sample('d')], 'relaxed')
  await clock.advance(1000)
  outbox.closeBatches(true)
  await outbox.append([sample('e'), sample('f')], 'relaxed')
  await clock.advance(1000)
  assert.deepEqual(idsOf(outbox), [['a', 'b', 'c'], ['d']], 'the last one is open')
  await full.disk.free()
  await clock.advance(28_000)
  await until(() => full.returns() === 1)
  await outbox.append([sample('g')], 'written')
  outbox.closeBatches(true)
  assert.deepEqual(idsOf(outbox), [['a', 'b', 'c'], ['d'], ['e', 'f'], ['g']])
})

test('what was given up or set aside in memory is counted and listed on disk too', { skip }, async () => {
  await using full = await openFull({ maxBytes: 3 * 43 }, [['o']])
  const { outbox, clock } = full
  const ids = ['1', '2', '3', '4', '5']
  for (const id of ids) await outbox.append([sample(id)], 'relaxed')
  await clock.advance(1000)
  const [refused] = parcelsOf(outbox)
  assert.deepEqual([refused?.samples[0].id, outbox.level().dropped.full], ['3', 2])
  if (refused !== undefined) outbox.setAside(refused, new Failure('MESSAGE_REFUSED', 'too large'))
  await outbox.append([sample('6')], 'relaxed')
  await full.goBack()
  assert.deepEqual(idsOf(outbox), [['4'], ['5'], ['6']], 'there is room for three: the oldest gave way')
  assert.deepEqual(outbox.level().dropped, { full: 3, expired: 0, refused: 1, torn: 0 })
  assert.deepEqual(
    full.dropped.reduce((sum, [count]) => sum + count, 0),
    4,
    'each is told once',
  )
  assert.deepEqual(
    outbox.asideList().map(({ id, code, message }) => [id, code, message]),
    [['3', 'MESSAGE_REFUSED', 'too large']],
  )
  assert.equal(outbox.asideBody('3'), '{}')
})

test('what nothing in the file gives way to is counted', { skip }, async () => {
  await using full = await openFull({ maxBytes: 2 * 43 }, [
    ['x', { priority: 'alarm' }],
    ['y', { priority: 'alarm' }],
  ])
  await full.outbox.append([sample('a'), sample('b')], 'relaxed')
  await full.goBack()
  assert.deepEqual(idsOf(full.outbox), [['x'], ['y']])
  assert.equal(full.outbox.level().dropped.full, 2)
  assert.deepEqual(full.dropped.flat(), [2, 'full'])
})

test('a disk with room for a part takes the rest later: nothing is lost, or there twice', { skip }, async () => {
  await using full = await openFull()
  const { outbox, clock, disk } = full
  const body = 'x'.repeat(1000)
  const ids = Array.from({ length: 5000 }, (_, at) => String(at))
  await outbox.append(
    ids.map((id) => sample(id, { body })),
    'relaxed',
  )
  await clock.advance(1000)
  const epoch = outbox.epoch()
  await truncate(join(disk.path, 'ballast'), DISK_BYTES - 6_000_000)
  await clock.advance(29_000)
  await until(() => clock.pending().some((wait) => wait > 29_000))
  const left = idsOf(outbox).flat()
  assert.ok(left.length > 0 && left.length < ids.length, `${left.length} are left in memory`)
  assert.deepEqual(left, ids.slice(-left.length))
  assert.deepEqual([outbox.level().place, outbox.epoch()], ['memory', epoch])
  const [first] = parcelsOf(outbox)
  assert.ok(first)
  outbox.acknowledge(first)
  assert.deepEqual(idsOf(outbox).flat(), left.slice(1), 'the numbers of what is left are the same')
  await outbox.append([sample('later')], 'relaxed')
  await clock.advance(1000)
  assert.equal(idsOf(outbox).flat().at(-1), 'later')
  await full.goBack()
  const others = ids.filter((id) => id !== left[0])
  assert.deepEqual(idsOf(outbox).flat(), [...others, 'later'])
})

test('a damaged file is mended before samples are moved to it', { skip }, async () => {
  await using full = await openFull({}, [['old']], (path) => writeFile(path, Buffer.alloc(100), { flag: 'r+' }))
  await full.outbox.append([sample('new')], 'relaxed')
  await full.goBack()
  assert.deepEqual(idsOf(full.outbox), [['old'], ['new']])
  assert.deepEqual(codes(full.failures), ['OUTBOX_IN_MEMORY', 'OUTBOX_TORN', 'OUTBOX_TORN'], 'found, and mended')
})

test('whoever hands samples in while they are moved waits, and none is out of its order', { skip }, async () => {
  await using full = await openFull()
  const { outbox } = full
  const ids: string[] = []
  const appendOne = async () => {
    ids.push(String(ids.length))
    await outbox.append([sample(ids.at(-1) ?? '')], 'relaxed')
  }
  for (let at = 0; at < 3000; at += 1) await appendOne()
  const appending = (async () => {
    while (full.returns() === 0) {
      await appendOne()
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  await full.goBack()
  await appending
  await outbox.append([sample('last')], 'written')
  assert.deepEqual(idsOf(outbox).flat(), [...ids, 'last'])
})

test('another reason is told, and closing while in memory leaves nobody waiting', { skip }, async () => {
  await using full = await openFull()
  const { outbox, clock, disk } = full
  await disk.remount('ro')
  await clock.advance(30_000)
  await until(() => full.failures.length === 2)
  assert.deepEqual(codes(full.failures), ['OUTBOX_IN_MEMORY', 'OUTBOX_IN_MEMORY'])
  assert.match(String(full.failures[1]?.message), /read-?only|EROFS/i)
  await disk.remount('rw')
  await outbox.append([sample('a')], 'relaxed')
  await until(() => clock.pending().length === 2)
  await outbox[Symbol.asyncDispose]()
  assert.deepEqual(clock.pending(), [])
  await assert.rejects(outbox.append([sample('b')], 'relaxed'), { code: 'OUTBOX_BUSY' })
})
