import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Failure } from '../../../../agent/failure.ts'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import type { Outbox } from '../../../../agent/telemetry/outbox/port.ts'
import { idsOf, outboxFolder, outboxOptions, parcelsOf, sample } from '../../../kit/outbox.ts'

/** A sync that a test lets go on, or fail. */
function heldSync() {
  const held: PromiseWithResolvers<void>[] = []
  let begun = Promise.withResolvers<void>()
  return {
    sync: async (datasync: () => Promise<void>) => {
      const one = Promise.withResolvers<void>()
      held.push(one)
      begun.resolve()
      await one.promise
      await datasync()
    },
    count: () => held.length,
    async begun() {
      await begun.promise
      begun = Promise.withResolvers()
    },
    release: () => held.at(-1)?.resolve(),
    fail: (error: Error) => held.at(-1)?.reject(error),
  }
}

/** Notes when each of these is answered, and how. */
function follow(answers: string[], name: string, answer: Promise<void>): Promise<void> {
  return answer.then(
    () => void answers.push(name),
    (error: { readonly code: string }) => void answers.push(`${name} ${error.code}`),
  )
}

const noSpace = Object.assign(new Error('ENOSPC: no space left on device, fdatasync'), { code: 'ENOSPC' })
const broken = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })

/** Rows in the database alone, without its log. */
function rowsWithoutLog(path: string): number {
  using database = new DatabaseSync(`file:${path}?immutable=1`, { readOnly: true })
  return Number(database.prepare('SELECT count(*) AS n FROM samples').get()?.['n'])
}

test('synced is answered after the sync, written before it, relaxed at once', async () => {
  await using folder = await outboxFolder()
  const held = heldSync()
  await using outbox = await openOutbox(folder.path, outboxOptions({}, { sync: held.sync }).options)
  const answers: string[] = []
  const relaxed = follow(answers, 'relaxed', outbox.append([sample('r')], 'relaxed'))
  const synced = follow(answers, 'synced', outbox.append([sample('s')], 'synced'))
  const written = follow(answers, 'written', outbox.append([sample('w')], 'written'))
  await relaxed
  assert.deepEqual(idsOf(outbox), [], 'answered before it was written')
  await held.begun()
  await written
  assert.deepEqual(answers, ['relaxed', 'written'])
  assert.deepEqual(idsOf(outbox), [['r'], ['s'], ['w']])
  held.release()
  await synced
  assert.deepEqual(answers, ['relaxed', 'written', 'synced'])
})

test('what comes while a sync is under way shares the next one', async () => {
  await using folder = await outboxFolder()
  const held = heldSync()
  await using outbox = await openOutbox(folder.path, outboxOptions({}, { sync: held.sync }).options)
  const first = outbox.append([sample('first')], 'synced')
  await held.begun()
  const others = Array.from({ length: 50 }, (_, at) => outbox.append([sample(String(at))], 'synced'))
  held.release()
  await first
  await held.begun()
  held.release()
  await Promise.all(others)
  assert.equal(held.count(), 2)
})

test('relaxed is written within a second, and what was only written is synced within five', async () => {
  await using folder = await outboxFolder()
  const heard = outboxOptions({}, { sync: () => Promise.resolve(void syncs.push(heard.clock.monotonicMs())) })
  const syncs: number[] = []
  await using outbox = await openOutbox(folder.path, heard.options)
  await outbox.append([sample('a')], 'relaxed')
  await heard.clock.advance(999)
  assert.deepEqual(idsOf(outbox), [])
  await heard.clock.advance(1)
  assert.deepEqual(idsOf(outbox), [['a']])
  assert.deepEqual(heard.clock.pending(), [5000])
  await heard.clock.advance(5000)
  assert.deepEqual(syncs, [6000])
  assert.deepEqual(heard.clock.pending(), [], 'an outbox with nothing to do waits for nothing')
})

test('after a sync that failed nothing is promised until all of the log is in the database', async () => {
  await using folder = await outboxFolder()
  const held = heldSync()
  const heard = outboxOptions({}, { sync: held.sync })
  await using outbox = await openOutbox(folder.path, heard.options)
  const answers: string[] = []
  const first = follow(answers, 'first', outbox.append([sample('a')], 'synced'))
  await held.begun()
  held.fail(broken)
  await first
  assert.deepEqual(answers, ['first STATE_UNWRITABLE'])
  assert.equal(outbox.level().trouble?.code, 'STATE_UNWRITABLE')
  await outbox.append([sample('b')], 'synced')
  assert.equal(held.count(), 1, 'a second sync of the same log proves nothing')
  assert.equal((await stat(`${folder.path}-wal`)).size, 0)
  assert.equal(rowsWithoutLog(await folder.copy()), 2)
  assert.equal(outbox.level().trouble, undefined)
  const third = outbox.append([sample('c')], 'synced')
  await held.begun()
  held.release()
  await third
  assert.deepEqual(
    heard.failures.map(({ code }) => code),
    ['STATE_UNWRITABLE'],
  )
})

test('a sync without space says that the disk is full', async () => {
  await using folder = await outboxFolder()
  const held = heldSync()
  await using outbox = await openOutbox(folder.path, outboxOptions({}, { sync: held.sync }).options)
  const answer = assert.rejects(outbox.append([sample('a')], 'synced'), { code: 'DISK_FULL' })
  await held.begun()
  held.fail(noSpace)
  await answer
})

test('a restart keeps order, content and batches, and closes those that were open', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions({ batchSamples: 3 })
  const samples = ['a', 'b', 'c', 'd', 'e'].map((id) => sample(id, { body: Uint8Array.of(id.charCodeAt(0), 0, 255) }))
  const alarm = sample('alarm', { priority: 'alarm', label: { contentType: 'text/plain', properties: { a: 'b' } } })
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append([...samples, alarm], 'written')
  }
  await using outbox = await openOutbox(folder.path, options)
  assert.deepEqual(idsOf(outbox), [['a', 'b', 'c'], ['d', 'e'], ['alarm']])
  await outbox.append([sample('f')], 'written')
  outbox.closeBatches(true)
  assert.deepEqual(idsOf(outbox), [['a', 'b', 'c'], ['d', 'e'], ['f'], ['alarm']])
  assert.deepEqual(
    parcelsOf(outbox).flatMap((parcel) => parcel.samples.filter(({ id }) => id !== 'f')),
    [...samples, alarm],
  )
})

test('what was answered is found after the agent was killed, and level tells the same', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions()
  await using outbox = await openOutbox(folder.path, options)
  for (let at = 0; at < 40; at += 1)
    await outbox.append([sample(`a${at}`), sample(`b${at}`, { stream: 'b', body: 'x'.repeat(at * 300) })], 'written')
  await using found = await openOutbox(await folder.copy(), options)
  assert.deepEqual([idsOf(found), idsOf(found, 'b')], [idsOf(outbox), idsOf(outbox, 'b')])
  assert.deepEqual(found.level(), outbox.level())
  assert.equal(found.level().depth, 80)
})

/** Acknowledges the first messages. */
function acknowledge(outbox: Outbox, count: number): void {
  for (const parcel of parcelsOf(outbox).slice(0, count)) outbox.acknowledge(parcel)
}

test('acknowledgements are written after two seconds; until then a kill means repeats, never a loss', async () => {
  await using folder = await outboxFolder()
  const heard = outboxOptions()
  await using outbox = await openOutbox(folder.path, heard.options)
  await outbox.append([sample('a'), sample('b'), sample('c')], 'written')
  acknowledge(outbox, 2)
  await heard.clock.waiting()
  assert.deepEqual(heard.clock.pending(), [2000])
  {
    await using early = await openOutbox(await folder.copy(), heard.options)
    assert.deepEqual(idsOf(early), [['a'], ['b'], ['c']])
  }
  await heard.clock.advance(2000)
  await using late = await openOutbox(await folder.copy(), heard.options)
  assert.deepEqual(idsOf(late), [['c']])
})

test('acknowledgements are written with the next sample, and at the end', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions()
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append([sample('a'), sample('b')], 'written')
    acknowledge(outbox, 1)
    await outbox.append([sample('c')], 'written')
    await using found = await openOutbox(await folder.copy(), options)
    assert.deepEqual(idsOf(found), [['b'], ['c']])
    acknowledge(outbox, 1)
  }
  await using outbox = await openOutbox(folder.path, options)
  assert.deepEqual(idsOf(outbox), [['c']])
})

test('what nobody waits for is written when the outbox is closed', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions()
  {
    await using outbox = await openOutbox(folder.path, options)
    await outbox.append([sample('a')], 'relaxed')
    const [written, closed] = [outbox.append([sample('b')], 'synced'), outbox[Symbol.asyncDispose]()]
    await assert.rejects(outbox.append([sample('late')], 'written'), { code: 'OUTBOX_BUSY' })
    await Promise.all([written, closed])
  }
  await using outbox = await openOutbox(folder.path, options)
  assert.deepEqual(idsOf(outbox), [['a'], ['b']])
})

test('what was given up and set aside is still counted after a restart', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions({ maxBytes: 4 * 43 })
  {
    await using outbox = await openOutbox(folder.path, options)
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) await outbox.append([sample(id)], 'written')
    const [bad] = parcelsOf(outbox)
    assert.ok(bad)
    outbox.setAside(bad, new Failure('MESSAGE_REFUSED', 'too large'))
  }
  {
    await using outbox = await openOutbox(folder.path, options)
    assert.deepEqual(outbox.level().dropped, { full: 2, expired: 0, refused: 1, torn: 0 })
    assert.equal(outbox.level().aside, 1)
  }
  using database = new DatabaseSync(folder.path, { readOnly: true })
  const [row] = database.prepare('SELECT stream, id, code, message, label, body FROM aside').all()
  assert.deepEqual(
    { ...row },
    { stream: 's', id: 'c', code: 'MESSAGE_REFUSED', message: 'too large', label: null, body: '{}' },
  )
})

test('only its owner may read the files', async () => {
  await using folder = await outboxFolder()
  await using outbox = await openOutbox(folder.path, outboxOptions().options)
  await outbox.append([sample('a')], 'written')
  for (const suffix of ['', '-wal']) assert.equal((await stat(`${folder.path}${suffix}`)).mode & 0o777, 0o600)
})

test('the log that is synced stays the log through every checkpoint', async () => {
  await using folder = await outboxFolder()
  await using outbox = await openOutbox(folder.path, outboxOptions().options)
  const before = await stat(`${folder.path}-wal`)
  for (let at = 0; at < 30; at += 1)
    await outbox.append(
      Array.from({ length: 50 }, (_, nth) => sample(`${at}-${nth}`, { body: 'x'.repeat(2000) })),
      'synced',
    )
  const after = await stat(`${folder.path}-wal`)
  assert.equal(after.ino, before.ino)
  assert.ok(after.size < 4 * 1024 * 1024, `the log has ${after.size} bytes`)
  assert.ok(rowsWithoutLog(await folder.copy()) > 1000, 'checkpoints have been made')
})
