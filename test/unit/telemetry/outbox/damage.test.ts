import assert from 'node:assert/strict'
import { open, readdir, stat, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import { restore } from '../../../../agent/telemetry/outbox/restore.ts'
import type { Outbox } from '../../../../agent/telemetry/outbox/port.ts'
import type { Sample } from '../../../../agent/telemetry/sample.ts'
import { idsOf, outboxFolder, outboxOptions, parcelsOf, sample } from '../../../kit/outbox.ts'

const body = 'x'.repeat(500)
const many = (count: number): readonly Sample[] =>
  Array.from({ length: count }, (_, at) => sample(`id-${at}`, { body, createdAtMs: at }))

/** Resolves when the outbox has been mended; a real file, so its steps take real time. */
async function mended(outbox: Outbox): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (outbox.level().place === 'mending') await outbox.arrived.next(signal)
}

async function overwrite(path: string, at: number, bytes: number): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(Buffer.alloc(bytes, 0xa5), 0, bytes, at)
}

const storesNothing = () => assert.fail('nothing is stored any more')

async function asideOf(path: string): Promise<readonly string[]> {
  const names = await readdir(dirname(path))
  return names.filter((name) => name.startsWith(`${basename(path)}.unreadable-`) && !name.endsWith('-wal'))
}

test('a header that was overwritten costs no sample: the file is set aside and made anew', async () => {
  await using folder = await outboxFolder()
  const { options, failures } = outboxOptions()
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append(many(200), 'written')
  }
  await overwrite(folder.path, 0, 100)
  await using outbox = await openOutbox(folder.path, options)
  assert.equal(outbox.level().place, 'mending')
  await assert.rejects(outbox.append([sample('x')], 'synced'), { code: 'OUTBOX_BUSY' })
  assert.deepEqual([outbox.streams(), outbox.next(1, 0)], [[], undefined])
  await mended(outbox)
  await outbox.append([sample('new', { stream: 'new' })], 'synced')
  assert.deepEqual([outbox.level().depth, outbox.level().place], [201, 'disk'])
  assert.deepEqual(
    failures.map(({ code }) => code),
    ['OUTBOX_TORN', 'OUTBOX_TORN'],
  )
  assert.equal((await asideOf(folder.path)).length, 1)
  assert.equal((await stat(folder.path)).mode & 0o777, 0o600)
})

test('damage that is met while reading is mended in the run, and what was acknowledged does not come back', async () => {
  await using folder = await outboxFolder()
  const { options, failures, dropped } = outboxOptions()
  {
    await using before = await openOutbox(folder.path, options)
    await before.append(many(2000), 'written')
  }
  const size = (await stat(folder.path)).size
  await using outbox = await openOutbox(folder.path, options)
  const [stream] = outbox.streams()
  assert.ok(stream)
  const first = outbox.next(stream.key, 0)
  assert.ok(first)
  outbox.acknowledge(first)
  await overwrite(folder.path, Math.floor(size / 2 / 4096) * 4096, 4096)
  let after = 0
  for (let parcel = outbox.next(stream.key, after); parcel !== undefined; parcel = outbox.next(stream.key, after))
    after = parcel.last
  assert.ok(after > 100 && after < 2000, `came to ${after}`)
  assert.equal(outbox.level().place, 'mending')
  assert.equal(failures[0]?.code, 'OUTBOX_TORN')
  const epoch = outbox.epoch()
  await mended(outbox)
  assert.notEqual(outbox.epoch(), epoch)
  outbox.acknowledge({ ...first, last: 1500 })
  const { depth, dropped: counts } = outbox.level()
  assert.ok(depth > 1900 && depth < 1999, `${depth} are left`)
  assert.equal(depth + counts.torn, 1999)
  assert.deepEqual(dropped, [[counts.torn, 'torn']])
  const numbers = parcelsOf(outbox).map(({ samples: [{ createdAtMs }] }) => createdAtMs)
  assert.deepEqual(
    numbers,
    numbers.toSorted((one, other) => one - other),
  )
  assert.equal(numbers[0], 1, 'the first was acknowledged')
})

test('batches are after mending what they were before', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions({ batchSamples: 3 })
  {
    await using before = await openOutbox(folder.path, options)
    await before.append(
      ['a', 'b', 'c', 'd'].map((id) => sample(id)),
      'written',
    )
    await before.append([sample('e', { priority: 'alarm' }), sample('f', { priority: 'alarm' })], 'written')
  }
  await overwrite(folder.path, 0, 100)
  await using outbox = await openOutbox(folder.path, options)
  await mended(outbox)
  assert.deepEqual(
    parcelsOf(outbox).map(({ samples }) => samples.map(({ id, priority }) => `${id} ${priority}`)),
    [['a telemetry', 'b telemetry', 'c telemetry'], ['d telemetry'], ['e alarm', 'f alarm']],
  )
})

test('the file of something else is set aside and not written to', async () => {
  await using folder = await outboxFolder()
  {
    using other = new DatabaseSync(folder.path)
    other.exec('CREATE TABLE songs (name TEXT); INSERT INTO songs VALUES (1)')
  }
  await using outbox = await openOutbox(folder.path, outboxOptions().options)
  await mended(outbox)
  const [aside] = await asideOf(folder.path)
  using other = new DatabaseSync(`${dirname(folder.path)}/${aside}`)
  assert.equal(other.prepare('SELECT name FROM songs').get()?.['name'], '1')
  await outbox.append([sample('a')], 'synced')
  assert.deepEqual(idsOf(outbox), [['a']])
})

test('an empty file is a new outbox', async () => {
  await using folder = await outboxFolder()
  await writeFile(folder.path, '')
  await using outbox = await openOutbox(folder.path, outboxOptions().options)
  assert.equal(outbox.level().place, 'disk')
})

test('whoever stops the agent does not wait until a damaged file has been looked through', async () => {
  await using folder = await outboxFolder()
  const { clock, options } = outboxOptions()
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append(many(200), 'written')
  }
  const stop = new AbortController()
  let asked = 0
  const stopsInTheScan = {
    ...clock,
    monotonicMs() {
      asked += 1
      if (asked === 2) stop.abort(new Error('stopped'))
      return clock.monotonicMs()
    },
  }
  const restoring = restore(
    folder.path,
    { heads: new Map(), dropped: undefined },
    storesNothing,
    stopsInTheScan,
    stop.signal,
  )
  await assert.rejects(restoring, { message: 'stopped' })
  assert.equal(asked, 2)
  await using outbox = await openOutbox(folder.path, options)
  await mended(outbox)
  assert.equal(outbox.level().depth, 200)
})
