import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { keepFirst, keepLast } from '../../../agent/system/keep.ts'

const chunks = fc.array(fc.uint8Array({ maxLength: 9_000 }), { maxLength: 6 })
const limit = fc.integer({ min: 1, max: 12_000 })

async function feed(stream: PassThrough, list: readonly Uint8Array[]): Promise<void> {
  for (const chunk of list) stream.write(chunk)
  stream.end()
  await finished(stream)
}

test('the first of a stream are kept, and one byte more where there is more', async () => {
  await fc.assert(
    fc.asyncProperty(chunks, limit, async (list, maxBytes) => {
      const stream = new PassThrough()
      const kept = keepFirst(stream, maxBytes)
      await feed(stream, list)
      const all = Buffer.concat(list)
      assert.deepEqual(Buffer.from(kept.bytes()), all.subarray(0, maxBytes + 1))
      if (all.length > maxBytes) await kept.overflowed
    }),
    { numRuns: 50 },
  )
})

test('the last of a stream are kept', async () => {
  await fc.assert(
    fc.asyncProperty(chunks, limit, async (list, maxBytes) => {
      const stream = new PassThrough()
      const kept = keepLast(stream, maxBytes)
      await feed(stream, list)
      assert.deepEqual(Buffer.from(kept.bytes()), Buffer.concat(list).subarray(-maxBytes))
    }),
    { numRuns: 50 },
  )
})

test('a stream that breaks harms nobody and leaves what it had said', () => {
  const stream = new PassThrough()
  const kept = keepFirst(stream, 10)
  stream.emit('data', Buffer.from('abc'))
  stream.emit('error', new Error('broken'))
  assert.equal(String(kept.bytes()), 'abc')
})
