import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openOutbox, openOutboxOrMemory } from '../../../../agent/telemetry/outbox/open.ts'
import { idsOf, outboxFolder, outboxOptions, parcelsOf, sample } from '../../../kit/outbox.ts'

/** No file of this process grows beyond this while it is in force, as on a disk without room. */
function limitFiles(bytes: number): Disposable {
  setFileLimit(String(bytes))
  return { [Symbol.dispose]: () => setFileLimit('unlimited') }
}

function setFileLimit(limit: string): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${limit}:`])
  assert.equal(status, 0, String(stderr))
}

test('on a full disk samples are refused, what was kept stays, and all works again by itself', async () => {
  await using folder = await outboxFolder()
  const heard = outboxOptions()
  const { options, failures } = heard
  await using outbox = await openOutbox(folder.path, options)
  await outbox.append([sample('a'), sample('b')], 'synced')
  const [first] = parcelsOf(outbox)
  assert.ok(first)
  {
    using _full = limitFiles((await stat(`${folder.path}-wal`)).size)
    const body = 'x'.repeat(8000)
    for (const durability of ['synced', 'written', 'relaxed'] as const)
      await assert.rejects(outbox.append([sample('c', { body })], durability), { code: 'DISK_FULL' })
    assert.equal(outbox.level().trouble?.code, 'DISK_FULL')
    assert.deepEqual(
      failures.map(({ code }) => code),
      ['DISK_FULL'],
      'said once',
    )
    outbox.acknowledge(first)
    assert.deepEqual(idsOf(outbox), [['b']])
    assert.deepEqual([outbox.level().depth, outbox.level().bytes], [1, 43])
  }
  await outbox.append([sample('d')], 'synced')
  assert.deepEqual(idsOf(outbox), [['b'], ['d']])
  assert.equal(outbox.level().trouble, undefined)
  await using found = await openOutbox(await folder.copy(), options)
  assert.deepEqual(idsOf(found), [['b'], ['d']])
})

test('what was promised and finds no room on the disk is counted', async () => {
  await using folder = await outboxFolder()
  const { clock, options, dropped } = outboxOptions()
  await using outbox = await openOutbox(folder.path, options)
  await outbox.append([sample('a')], 'synced')
  {
    using _full = limitFiles((await stat(`${folder.path}-wal`)).size)
    await outbox.append([sample('b', { body: 'x'.repeat(8000) }), sample('c')], 'relaxed')
    await clock.advance(1000)
  }
  assert.deepEqual(dropped, [[2, 'full']])
  assert.deepEqual([outbox.level().dropped.full, outbox.level().depth], [2, 1])
})

test('no more than 16 MiB wait for the disk', async () => {
  await using folder = await outboxFolder()
  const gate = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const { options } = outboxOptions(
    {},
    {
      async sync(datasync) {
        begun.resolve()
        await gate.promise
        await datasync()
      },
    },
  )
  await using outbox = await openOutbox(folder.path, options)
  const appends = [outbox.append([sample('first')], 'synced')]
  await begun.promise
  const megabyte = 'x'.repeat(1024 * 1024 - 45)
  for (let at = 0; at < 16; at += 1) appends.push(outbox.append([sample(`m${at}`, { body: megabyte })], 'synced'))
  await assert.rejects(outbox.append([sample('over', { body: megabyte })], 'synced'), { code: 'OUTBOX_BUSY' })
  await assert.rejects(outbox.append([sample('over', { body: megabyte })], 'relaxed'), { code: 'OUTBOX_BUSY' })
  gate.resolve()
  await Promise.all(appends)
  await outbox.append([sample('after')], 'written')
  assert.equal(outbox.level().depth, 18)
})

test('a hundred thousand samples are kept in order, and after them the file is small again', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions()
  {
    await using outbox = await openOutbox(folder.path, options)
    const body = 'x'.repeat(200)
    for (let at = 0; at < 100_000; at += 1000)
      await outbox.append(
        Array.from({ length: 1000 }, (_, nth) => sample(String(at + nth), { body })),
        'written',
      )
    assert.deepEqual([outbox.level().depth, outbox.level().dropped.full], [100_000, 0])
    const [stream] = outbox.streams()
    assert.ok(stream)
    for (let after = 0; after < 100_000; after += 1) {
      const parcel = outbox.next(stream.key, after)
      assert.equal(parcel?.samples[0].id, String(after))
      if (parcel !== undefined) outbox.acknowledge(parcel)
    }
    assert.equal(outbox.level().depth, 0)
    assert.ok((await stat(folder.path)).size > 20_000_000)
  }
  assert.ok((await stat(folder.path)).size < 100_000, `the file has ${(await stat(folder.path)).size} bytes`)
})

test('where no file can be, samples are kept in memory, and that is said', async () => {
  await using folder = await outboxFolder()
  const notAFolder = join(folder.path, '..', 'file')
  await writeFile(notAFolder, '')
  const { options, failures } = outboxOptions()
  await using outbox = await openOutboxOrMemory(join(notAFolder, 'outbox.db'), options)
  assert.equal(outbox.level().place, 'memory')
  assert.deepEqual(
    failures.map(({ code }) => code),
    ['OUTBOX_IN_MEMORY'],
  )
  await assert.rejects(outbox.append([sample('a')], 'synced'), { code: 'OUTBOX_IN_MEMORY', message: /outbox\.db|file/ })
})

test('a second one on the same file is told that there is a first', async () => {
  await using folder = await outboxFolder()
  const { options } = outboxOptions()
  await using first = await openOutbox(folder.path, options)
  await first.append([sample('a')], 'written')
  const script = `
    import { openOutbox } from ${JSON.stringify(import.meta.resolve('../../../../agent/telemetry/outbox/open.ts'))}
    const limits = { maxBytes: 1e9, maxAgeMs: 1e9, batchSamples: 1, batchMs: 5000 }
    const clock = { now: () => 0, monotonicMs: () => 0, wait: () => new Promise(() => undefined) }
    await openOutbox(${JSON.stringify(folder.path)}, { clock, limits, onFailure: () => undefined })
      .catch((error) => console.log(error.code))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(stdout, 'STATE_UNWRITABLE\n')
  await first.append([sample('b')], 'written')
  assert.deepEqual(idsOf(first), [['a'], ['b']])
})
