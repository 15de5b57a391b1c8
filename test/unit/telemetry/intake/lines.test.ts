import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../../../agent/failure.ts'
import { linesOf, MAX_LINE_BYTES } from '../../../../agent/telemetry/intake/lines.ts'

/** The bytes in pieces that end at these places. */
async function* cutAt(bytes: Buffer, places: readonly number[]): AsyncGenerator<Buffer> {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b)
  let from = 0
  for (const end of [...ends, bytes.length]) {
    yield bytes.subarray(from, end)
    from = end
  }
}

function isTooLong(error: unknown): boolean {
  return error instanceof Failure && error.code === 'TELEMETRY_TOO_LARGE'
}

test('lines are the same wherever the stream is split', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', '\r', '🚂'))),
      fc.array(fc.nat()),
      async (parts, places) => {
        const text = parts.join('\n')
        const expected = text.split('\n')
        if (expected.at(-1) === '') expected.pop()
        const given: string[] = []
        for await (const lines of linesOf(cutAt(Buffer.from(text), places))) given.push(...lines.map(String))
        assert.deepEqual(given, expected)
      },
    ),
  )
})

test('lines are given out as they end, and not when more has come', async () => {
  const given: string[] = []
  const chunks = async function* () {
    yield Buffer.from('a\nb')
    assert.deepEqual(given, ['a'])
    yield Buffer.from('c\n')
    assert.deepEqual(given, ['a', 'bc'])
  }
  for await (const lines of linesOf(chunks())) given.push(...lines.map(String))
  assert.deepEqual(given, ['a', 'bc'])
})

test('a line may have 512 KiB; a longer one is refused before its end, and what came before it is kept', async () => {
  assert.equal(MAX_LINE_BYTES, 512 * 1024)
  const longest = 'x'.repeat(MAX_LINE_BYTES)
  for (const size of [100, 4096, 65_536, MAX_LINE_BYTES + 7]) {
    const given: number[] = []
    const read = async (text: string) => {
      const bytes = Buffer.from(text)
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => (at + 1) * size)
      for await (const lines of linesOf(cutAt(bytes, pieces))) given.push(...lines.map((line) => line.length))
    }
    await read(`first\n${longest}\n`)
    await assert.rejects(read(`second\n${longest}x`), isTooLong)
    await assert.rejects(read(`third\n${longest}x\nfourth\n`), isTooLong)
    assert.deepEqual(given, [5, MAX_LINE_BYTES, 6, 5], `in pieces of ${size}`)
  }
})
