import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../agent/failure.ts'
import { PLAIN_LABEL } from '../../agent/telemetry/sample.ts'
import { idsOf, kinds, parcelsOf, sample } from '../kit/outbox.ts'

/** Bytes that a sample of `bodyOf` takes: body, ID and 40 (outbox/schema.ts). */
const SIZE = 100
const bodyOf = (id: string) => 'x'.repeat(SIZE - 40 - id.length)
const sized = (id: string, others: Parameters<typeof sample>[1] = {}) => sample(id, { body: bodyOf(id), ...others })
const refused = new Failure('MESSAGE_REFUSED', 'too large')
const unsure = { bootId: '2b5f7c1e', uptimeMs: 5000 }

for (const [kind, open] of Object.entries(kinds)) {
  test(`${kind}: samples come out as they went in, in their order`, async () => {
    await using box = await open()
    const properties = { severity: 'high', 'a b': 'c&d=é' }
    const samples = [
      sample('text', { body: '{"t":"é\u0000\u{1f321}"}' }),
      sample('bytes', {
        body: Uint8Array.of(0, 255, 10),
        label: { contentType: 'application/octet-stream', component: 'pump', properties },
      }),
      sample('empty', { body: '', createdAtMs: 0 }),
      sample('unsure', { unsure }),
    ]
    await box.keep(...samples)
    assert.deepEqual(
      parcelsOf(box.outbox).flatMap((parcel) => parcel.samples),
      samples,
    )
    assert.deepEqual(
      parcelsOf(box.outbox).map(({ bytes }) => bytes),
      samples.map(({ body }) => Buffer.byteLength(body)),
    )
  })

  test(`${kind}: what was acknowledged is gone, with all before it, and stays gone`, async () => {
    await using box = await open()
    await box.keep(sized('a'), sized('b'), sized('c'), sized('d'))
    const [, second] = parcelsOf(box.outbox)
    assert.ok(second)
    box.outbox.acknowledge(second)
    assert.deepEqual(idsOf(box.outbox), [['c'], ['d']])
    assert.deepEqual([box.outbox.level().depth, box.outbox.level().bytes], [2, 2 * SIZE])
    box.outbox.acknowledge(second)
    box.outbox.acknowledge({ ...second, last: second.last + 1, epoch: second.epoch + 1 })
    await box.settle()
    assert.deepEqual(idsOf(box.outbox), [['c'], ['d']], 'a repeat, or another epoch, removes nothing')
  })

  test(`${kind}: an emptied stream is not listed, and goes on with new numbers`, async () => {
    await using box = await open()
    await box.keep(sample('a'))
    const [first] = parcelsOf(box.outbox)
    assert.ok(first)
    box.outbox.acknowledge(first)
    assert.deepEqual(box.outbox.streams(), [])
    await box.keep(sample('b'))
    box.outbox.acknowledge(first)
    assert.deepEqual(idsOf(box.outbox), [['b']])
  })

  test(`${kind}: a stream is a name and a priority, and says where it begins and ends`, async () => {
    await using box = await open()
    const startMs = box.clock.now()
    await box.keep(sample('a'), sample('alarm', { priority: 'alarm' }))
    await box.clock.advance(500)
    const laterMs = box.clock.now()
    await box.keep(sample('b'))
    const lastMs = kind === 'disk' ? laterMs : laterMs + 1000
    const firstMs = kind === 'disk' ? startMs : startMs + 1000
    assert.deepEqual(
      box.outbox.streams().map((view) => ({ ...view, key: 0 })),
      [
        { key: 0, name: 's', priority: 'telemetry', head: 1, tail: 2, closed: 2, headAtMs: firstMs, tailAtMs: lastMs },
        { key: 0, name: 's', priority: 'alarm', head: 1, tail: 1, closed: 1, headAtMs: firstMs, tailAtMs: firstMs },
      ],
    )
    assert.equal(box.outbox.level().oldestAtMs, firstMs)
  })

  test(`${kind}: the oldest of the lowest priority makes room, whatever its stream`, async () => {
    await using box = await open({ maxBytes: 4 * SIZE })
    await box.keep(sized('alarm', { priority: 'alarm' }))
    await box.keep(sized('a1', { stream: 'a' }))
    await box.clock.advance(1)
    await box.keep(sized('b1', { stream: 'b' }))
    await box.clock.advance(1)
    await box.keep(sized('a2', { stream: 'a' }))
    await box.keep(sized('a3', { stream: 'a' }), sized('a4', { stream: 'a' }))
    assert.deepEqual([idsOf(box.outbox, 'a'), idsOf(box.outbox, 'b')], [[['a2'], ['a3'], ['a4']], []])
    assert.deepEqual(idsOf(box.outbox), [['alarm']])
    await box.keep(sized('audit', { priority: 'audit' }), sized('au2', { priority: 'audit' }))
    assert.deepEqual([idsOf(box.outbox, 'a'), idsOf(box.outbox)], [[['a4']], [['alarm'], ['audit'], ['au2']]])
    assert.equal(box.outbox.level().dropped.full, 4)
    assert.equal(
      box.dropped.reduce((sum, [count]) => sum + count, 0),
      4,
    )
    assert.equal(box.outbox.level().bytes, 4 * SIZE)
  })

  test(`${kind}: what is worth more does not make room, and nothing is given up for nothing`, async () => {
    await using box = await open({ maxBytes: 3 * SIZE })
    await box.keep(sized('1', { priority: 'audit' }), sized('2', { priority: 'alarm' }), sized('t'))
    if (kind === 'disk') {
      await assert.rejects(box.keep(sized('u'), sized('v')), { code: 'OUTBOX_FULL' })
      await assert.rejects(box.keep(sized('w', { priority: 'alarm' }), sized('x')), { code: 'OUTBOX_FULL' })
    } else {
      await box.keep(sized('u'), sized('v'))
    }
    assert.equal(box.outbox.level().trouble?.code, 'OUTBOX_FULL')
    assert.deepEqual(idsOf(box.outbox).flat().toSorted(), ['1', '2', 't'])
    await box.keep(sized('y', { priority: 'alarm' }))
    assert.deepEqual(idsOf(box.outbox).flat().toSorted(), ['1', '2', 'y'])
    assert.equal(box.outbox.level().trouble, undefined)
  })

  test(`${kind}: samples share a message up to the number that is set, when their labels are the same`, async () => {
    await using box = await open({ batchSamples: 3 })
    const other = { ...PLAIN_LABEL, component: 'pump' }
    await box.keep(sample('a'), sample('b'), sample('c'), sample('d'), sample('e', { label: other }))
    await box.keep(sample('f', { label: other }), sample('g', { label: other, unsure }))
    assert.deepEqual(idsOf(box.outbox), [['a', 'b', 'c'], ['d'], ['e', 'f']], 'the last one is open')
    assert.deepEqual(
      box.outbox.streams().map(({ closed, tail }) => [closed, tail]),
      [[6, 7]],
    )
    assert.equal(box.outbox.closeBatches(true), undefined)
    assert.deepEqual(idsOf(box.outbox), [['a', 'b', 'c'], ['d'], ['e', 'f'], ['g']])
    await box.keep(sample('h', { label: other, unsure }))
    box.outbox.closeBatches(true)
    assert.deepEqual(idsOf(box.outbox).at(-1), ['h'], 'a batch that was closed takes no more')
  })

  test(`${kind}: a batch is closed when it has waited long enough, and says when that will be`, async () => {
    await using box = await open({ batchSamples: 10, batchMs: 5000 })
    await box.keep(sample('a'))
    const begunMs = box.clock.monotonicMs()
    await box.clock.advance(2000)
    await box.keep(sample('b'), sample('c', { stream: 'other' }))
    const rings = box.outbox.arrived.rings()
    const due = box.outbox.closeBatches()
    assert.equal(due, begunMs + 5000)
    assert.equal(box.outbox.arrived.rings(), rings)
    await box.clock.advance((due ?? 0) - box.clock.monotonicMs())
    assert.ok((box.outbox.closeBatches() ?? 0) > begunMs + 5000, 'the other one is still open')
    assert.deepEqual([idsOf(box.outbox), idsOf(box.outbox, 'other')], [[['a', 'b']], []])
    assert.equal(box.outbox.arrived.rings(), rings + 1)
  })

  test(`${kind}: bodies, IDs and 80 bytes for each sample are no more than 128 KiB in a batch`, async () => {
    await using box = await open({ batchSamples: 10 })
    const half = 'x'.repeat(64 * 1024 - 1 - 80)
    await box.keep(sample('a', { body: half }), sample('b', { body: half }), sample('c', { body: half }), sample('d'))
    box.outbox.closeBatches(true)
    assert.deepEqual(idsOf(box.outbox), [
      ['a', 'b'],
      ['c', 'd'],
    ])
  })

  test(`${kind}: a batch is acknowledged as a whole`, async () => {
    await using box = await open({ batchSamples: 2 })
    await box.keep(sample('a'), sample('b'), sample('c'), sample('d'))
    const [first] = parcelsOf(box.outbox)
    assert.ok(first)
    assert.deepEqual([first.first, first.last], [1, 2])
    box.outbox.acknowledge(first)
    await box.settle()
    assert.deepEqual(idsOf(box.outbox), [['c', 'd']])
  })

  test(`${kind}: what the hub will never take is kept for a look and blocks nothing`, async () => {
    await using box = await open()
    await box.keep(sample('bad'), sample('good'))
    const [bad] = parcelsOf(box.outbox)
    assert.ok(bad)
    box.outbox.setAside(bad, refused)
    box.outbox.setAside(bad, refused)
    await box.settle()
    assert.deepEqual(idsOf(box.outbox), [['good']])
    assert.deepEqual([box.outbox.level().aside, box.outbox.level().dropped.refused], [1, 1])
    assert.deepEqual(box.dropped, [[1, 'refused']])
  })

  test(`${kind}: of what was set aside the newest hundred are kept`, async () => {
    await using box = await open()
    await box.keep(...Array.from({ length: 105 }, (_, at) => sample(String(at))))
    for (const parcel of parcelsOf(box.outbox)) box.outbox.setAside(parcel, refused)
    await box.settle()
    assert.deepEqual([box.outbox.level().aside, box.outbox.level().dropped.refused], [100, 105])
    const newest = Array.from({ length: 100 }, (_, at) => String(104 - at))
    assert.deepEqual(
      box.outbox.asideList().map(({ id }) => id),
      newest,
    )
    assert.deepEqual([box.outbox.asideBody('4'), box.outbox.asideBody('5')], [undefined, '{}'])
    // One more pushes the oldest out at once, whatever is in the file by then.
    await box.keep(sample('last'))
    for (const parcel of parcelsOf(box.outbox)) box.outbox.setAside(parcel, refused)
    assert.deepEqual(
      box.outbox.asideList().map(({ id }) => id),
      ['last', ...newest.slice(0, -1)],
    )
    assert.deepEqual([box.outbox.asideBody('5'), box.outbox.asideBody('last')], [undefined, '{}'])
  })

  test(`${kind}: what came in too long ago is given up, unless a clock is in doubt`, async () => {
    let trusted = false
    await using box = await open({ maxAgeMs: 3_600_000 }, { trusted: () => trusted })
    await box.keep(sample('old'), sample('old too'), sample('unsure', { unsure }), sample('behind'))
    await box.keep(sample('other', { stream: 'other' }))
    await box.clock.advance(3_600_001 + 60_000)
    await box.keep(sample('new'))
    assert.equal(box.outbox.level().depth, 6, 'nobody knows how old they are')
    trusted = true
    await box.keep(sample('newer'))
    assert.deepEqual(idsOf(box.outbox), [['unsure'], ['behind'], ['new'], ['newer']])
    assert.deepEqual(idsOf(box.outbox, 'other'), [])
    assert.equal(box.outbox.level().dropped.expired, 3)
  })

  test(`${kind}: the bell rings when there is something new`, async () => {
    await using box = await open()
    const ring = box.outbox.arrived.next(AbortSignal.timeout(10_000))
    await box.keep(sample('a'))
    await ring
  })

  test(`${kind}: an empty stream makes place for a new one, and 256 that hold samples do not`, async () => {
    await using box = await open()
    const names = Array.from({ length: 256 }, (_, at) => `s${at}`)
    await box.keep(...names.map((stream) => sample(stream, { stream })))
    await box.keep(sample('over', { stream: 'one more' })).catch((error: unknown) => {
      assert.equal((error as Failure).code, 'OUTBOX_FULL')
    })
    assert.match(box.outbox.level().trouble?.message ?? '', /one more.*256/)
    await box.keep(sample('own', { stream: 'device' }), sample('alarm', { stream: 'alarms-500000' }))
    assert.deepEqual(idsOf(box.outbox, 'device'), [['own']], 'the streams of the agent have places of their own')
    const [first] = parcelsOf(box.outbox, 's7')
    assert.ok(first)
    box.outbox.acknowledge(first)
    await box.keep(sample('new', { stream: 'one more' }))
    assert.deepEqual(idsOf(box.outbox, 'one more'), [['new']])
    box.outbox.acknowledge(first)
    assert.deepEqual(idsOf(box.outbox, 'one more'), [['new']], 'it has the key of s7, and none of its numbers')
  })

  test(`${kind}: a delivery that names too many streams is refused as a whole, and nothing is given up for it`, async () => {
    await using box = await open({ maxBytes: 1024 * SIZE })
    await box.keep(sized('kept'))
    const many = Array.from({ length: 256 }, (_, at) => sized(String(at), { stream: `s${at}` }))
    await box.keep(...many).catch((error: unknown) => assert.equal((error as Failure).code, 'OUTBOX_FULL'))
    assert.equal(box.outbox.level().trouble?.code, 'OUTBOX_FULL')
    assert.equal(box.outbox.level().depth, 1)
    assert.deepEqual(idsOf(box.outbox), [['kept']])
  })

  test(`${kind}: a time that is no number is refused at once`, async () => {
    await using box = await open()
    await assert.rejects(box.keep(sample('a', { createdAtMs: NaN })), { code: 'TELEMETRY_INVALID' })
    await box.keep(sample('b'))
    assert.deepEqual(idsOf(box.outbox), [['b']])
  })
}

test('memory: nothing is promised that a restart would break', async () => {
  await using box = await kinds.memory({ maxBytes: 1e9 })
  await assert.rejects(box.outbox.append([sample('a')], 'synced'), { code: 'OUTBOX_IN_MEMORY' })
  await assert.rejects(box.outbox.append([sample('a')], 'written'), { code: 'OUTBOX_IN_MEMORY' })
  assert.deepEqual([box.outbox.level().place, box.outbox.level().maxBytes], ['memory', 8 * 1024 * 1024])
})
