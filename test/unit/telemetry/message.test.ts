import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { batchBody, ENTRY_BYTES } from '../../../agent/telemetry/batch.ts'
import { buildMessage } from '../../../agent/telemetry/message.ts'
import type { MessageFacts } from '../../../agent/telemetry/message.ts'
import type { Parcel } from '../../../agent/telemetry/outbox/port.ts'
import { PLAIN_LABEL } from '../../../agent/telemetry/sample.ts'
import type { Label, Sample } from '../../../agent/telemetry/sample.ts'

const NOON = Date.UTC(2026, 2, 4, 12)
const facts: MessageFacts = { boot: { bootId: 'this-boot', beganAtMs: NOON - 3_600_000 }, compression: 'off' }
const zipped: MessageFacts = { ...facts, compression: 'gzip' }

const sample = (more: Partial<Sample> = {}): Sample => ({
  id: 's-1',
  stream: 'local',
  priority: 'telemetry',
  createdAtMs: NOON,
  label: PLAIN_LABEL,
  body: '{"a":1}',
  ...more,
})

const parcel = (...samples: [Sample, ...Sample[]]): Parcel => ({
  ...{ epoch: 1, stream: 1, first: 1, last: samples.length, samples },
  bytes: samples.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0),
})

const noGzip = () => assert.fail('nothing is to be compressed')
const build = (of: Parcel, with_: MessageFacts = facts) => buildMessage(of, with_, noGzip)

/** The samples of a batch as a receiver reads them. */
interface Read {
  readonly id: string
  readonly time?: string
  readonly encoding?: string
  readonly body: unknown
}
const readBatch = (body: string | Uint8Array) => JSON.parse(String(body)) as Read[]

test('one sample is sent as it is, with its label, its ID and its time', () => {
  const properties = { severity: 'high', 'site ü': 'a&b' }
  const label: Label = { contentType: 'text/plain', contentEncoding: 'utf-8', component: 'pump', properties }
  assert.deepEqual(build(parcel(sample({ label, body: 'plain words' }))), {
    body: 'plain words',
    contentType: 'text/plain',
    contentEncoding: 'utf-8',
    messageId: 's-1',
    creationTimeMs: NOON,
    component: 'pump',
    properties,
  })
})

test('bytes are sent as bytes, and no encoding is said of them that nobody gave', () => {
  const body = Uint8Array.of(0, 255, 1)
  const outgoing = build(parcel(sample({ label: { contentType: 'image/png' }, body })))
  assert.equal(outgoing.body, body)
  assert.ok(!('contentEncoding' in outgoing))
})

test('a batch is one JSON array in the order of the samples, under the time of the first and an ID of its own', () => {
  const label: Label = { ...PLAIN_LABEL, component: 'pump', properties: { line: '4' } }
  const second = sample({ id: 's-2', createdAtMs: NOON + 1500, label, body: '{"a":1e2,"big":12345678901234567890}' })
  assert.deepEqual(build(parcel(sample({ label }), second)), {
    body:
      '[{"id":"s-1","time":"2026-03-04T12:00:00.000Z","body":{"a":1}},' +
      '{"id":"s-2","time":"2026-03-04T12:00:01.500Z","body":{"a":1e2,"big":12345678901234567890}}]',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    // SHA-256 of the IDs with a blank between them: printf 's-1 s-2' | sha256sum | cut -c 1-32
    messageId: 'batch-65a775783dcf5f77139c77e7a30212f5',
    creationTimeMs: NOON,
    component: 'pump',
    properties: { line: '4', iotAgentBatch: '2' },
  })
})

const idOf = (...samples: readonly [Sample, ...Sample[]]) => build(parcel(...samples)).messageId

test('batches that begin alike and go on otherwise have different IDs, and the same batch has one', () => {
  const [first, second, third] = ['s-1', 's-2', 's-3'].map((id) => sample({ id }))
  assert.ok(first && second && third)
  const ids = [idOf(first), idOf(first, second), idOf(first, second, third), idOf(second, first)]
  assert.equal(new Set(ids).size, 4)
  assert.equal(idOf(first, second), ids[1])
})

test('other text stands in a batch as a string and bytes in base64, and the batch says what they were', () => {
  const text: Label = { contentType: 'text/csv', contentEncoding: 'utf-8' }
  const csv = build(parcel(sample({ label: text, body: '1;2\n' }), sample({ id: 's-2', label: text, body: '3;4\n' })))
  assert.deepEqual(
    readBatch(csv.body).map(({ body }) => body),
    ['1;2\n', '3;4\n'],
  )
  assert.equal(csv.contentType, 'application/json')
  assert.equal(csv.properties.iotAgentContentType, 'text/csv')
  assert.equal(csv.properties.iotAgentContentEncoding, 'utf-8')

  const label: Label = { contentType: 'image/png' }
  const body = Uint8Array.of(9, 0, 255, 1, 9).subarray(1, 4)
  const images = build(parcel(sample({ label, body }), sample({ id: 's-2', label, body })))
  assert.deepEqual(readBatch(images.body)[1], {
    ...{ id: 's-2', time: '2026-03-04T12:00:00.000Z' },
    ...{ encoding: 'base64', body: 'AP8B' },
  })
  assert.equal(images.properties.iotAgentContentType, 'image/png')
  assert.ok(!('iotAgentContentEncoding' in images.properties))
})

test('a sample that only claims to be JSON leaves the others of its batch readable', () => {
  const { body } = build(parcel(sample({ body: '{"a":' }), sample({ id: 's-2', body: '{"b":2}' })))
  assert.deepEqual(
    readBatch(body).map((entry) => entry.body),
    ['{"a":', { b: 2 }],
  )
})

test('a label cannot name what the agent says of a batch', () => {
  const label: Label = { ...PLAIN_LABEL, properties: { iotAgentBatch: '99' } }
  assert.equal(build(parcel(sample({ label }), sample({ id: 's-2', label }))).properties.iotAgentBatch, '2')
})

test('what was put into a batch comes out of it: any text, any JSON, any bytes', () => {
  const bodies: fc.Arbitrary<readonly [Label, readonly (string | Uint8Array)[]]> = fc.oneof(
    fc
      .array(fc.json(), { minLength: 2 })
      .map((list) => [{ contentType: 'application/json; charset=utf-8', contentEncoding: 'UTF-8' }, list] as const),
    fc
      .array(fc.string({ unit: 'binary' }), { minLength: 2 })
      .map((list) => [{ contentType: 'text/plain', contentEncoding: 'utf-8' }, list] as const),
    fc
      .array(fc.uint8Array(), { minLength: 2 })
      .map((list) => [{ contentType: 'application/octet-stream' }, list] as const),
  )
  fc.assert(
    fc.property(bodies, ([label, list]) => {
      const samples = list.map((body, at) => sample({ id: `s-${at}`, createdAtMs: NOON + at, label, body }))
      const { body } = build(parcel(...(samples as [Sample, ...Sample[]])))
      assert.deepEqual(
        readBatch(body).map((entry) => ({ ...entry, body: unpacked(entry, label) })),
        samples.map(({ id, createdAtMs, body: put }, at) => {
          const time = new Date(createdAtMs).toISOString()
          const encoding = readBatch(body)[at]?.encoding
          return {
            ...{ id, time, ...(encoding !== undefined && { encoding }) },
            body: label.contentType.startsWith('application/json')
              ? (JSON.parse(String(put)) as unknown)
              : bytesOf(put),
          }
        }),
      )
    }),
  )
})

function unpacked({ encoding, body }: Read, label: Label): unknown {
  if (label.contentType.startsWith('application/json')) return body
  return encoding === 'base64' ? [...Buffer.from(String(body), 'base64')] : bytesOf(String(body))
}

function bytesOf(body: string | Uint8Array): number[] {
  return [...Buffer.from(body)]
}

test('a batch takes at most 4/3 of its bodies, and for each sample its ID and 80 bytes', () => {
  const body = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('"', '\\', '\u0001', 'é', '𝄞', '\n') }),
    fc.uint8Array(),
  )
  const entry = fc.record({
    id: fc.stringMatching(/^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/),
    atMs: fc.option(fc.integer({ min: -8.64e15, max: 8.64e15 }), { nil: undefined }),
    body,
  })
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1 }), fc.constantFrom('application/json', 'text/plain'), (list, type) => {
      const text = batchBody(list, { contentType: type, contentEncoding: 'utf-8' })
      const bound = list.reduce(
        (sum, { id, body: put }) => sum + (Buffer.byteLength(put) * 4) / 3 + id.length + ENTRY_BYTES,
        1,
      )
      assert.ok(Buffer.byteLength(text) <= bound)
    }),
  )
})

test('128 KiB of nothing but control characters are a batch that the hub takes', () => {
  const label: Label = { contentType: 'text/plain', contentEncoding: 'utf-8' }
  const half = (id: string) => sample({ id, label, body: '\u0001'.repeat(64 * 1024) })
  const { body } = build(parcel(half('s-1'), half('s-2')))
  assert.ok(Buffer.byteLength(body) < 180 * 1024)
  assert.equal(Buffer.from(String(readBatch(body)[1]?.body), 'base64').toString(), half('s-2').body)
})

/** The encoding of a body of so many bytes, when gzip makes so many of it. */
function encodingOf(bytes: number, result: number): string | undefined {
  const given = sample({ body: 'x'.repeat(bytes) })
  return buildMessage(parcel(given), zipped, () => new Uint8Array(result)).contentEncoding
}

test('compression is used where the result has at most nine tenths of at least 512 bytes', () => {
  assert.equal(encodingOf(511, 1), 'utf-8')
  assert.equal(encodingOf(512, 460), 'gzip')
  assert.equal(encodingOf(512, 461), 'utf-8')
  assert.equal(encodingOf(1000, 900), 'gzip')
  assert.equal(encodingOf(1000, 901), 'utf-8')
})

test('what was compressed is the body, byte for byte, and the same at each attempt', () => {
  const body = JSON.stringify({ words: 'grün '.repeat(200) })
  const first = buildMessage(parcel(sample({ body })), zipped, gzipSync)
  const again = buildMessage(parcel(sample({ body })), zipped, gzipSync)
  assert.ok(typeof first.body !== 'string')
  assert.equal(gunzipSync(first.body).toString(), body)
  assert.equal(first.contentType, 'application/json')
  assert.deepEqual(again, first)
})

test('a body that its program has encoded is not encoded again', () => {
  const label: Label = { contentType: 'application/json', contentEncoding: 'deflate' }
  const given = sample({ label, body: 'x'.repeat(1000) })
  assert.equal(buildMessage(parcel(given), zipped, noGzip).contentEncoding, 'deflate')
})

test('bytes without an encoding are compressed as well', () => {
  const given = sample({ label: { contentType: 'application/x-log' }, body: new Uint8Array(1000) })
  assert.equal(buildMessage(parcel(given), zipped, gzipSync).contentEncoding, 'gzip')
})

const unsure = (more: Partial<Sample> = {}, bootId = 'this-boot') =>
  sample({ createdAtMs: Date.UTC(1970, 0, 1, 0, 10), unsure: { bootId, uptimeMs: 600_000 }, ...more })

test('an unsure time of this boot is counted from its start, and the message says so', () => {
  const outgoing = build(parcel(unsure()))
  assert.equal(outgoing.creationTimeMs, NOON - 3_600_000 + 600_000)
  assert.deepEqual(outgoing.properties, { iotAgentClock: 'corrected' })
})

test('an unsure time that turns out right to the second is none that was corrected', () => {
  const outgoing = build(parcel(unsure({ createdAtMs: NOON - 3_000_000 - 999 })))
  assert.equal(outgoing.creationTimeMs, NOON - 3_000_000 - 999)
  assert.deepEqual(outgoing.properties, {})
  assert.equal(build(parcel(unsure({ createdAtMs: NOON - 3_001_000 }))).properties.iotAgentClock, 'corrected')
})

test('an unsure time of another boot, or of one without a known start, is no time at all', () => {
  for (const [given, boot] of [
    [unsure({}, 'last-boot'), facts.boot],
    [unsure(), { bootId: 'this-boot' }],
    [sample({ createdAtMs: NaN }), facts.boot],
    [unsure(), { bootId: 'this-boot', beganAtMs: 8.64e15 }],
  ] as const) {
    const outgoing = build(parcel(given), { boot, compression: 'off' })
    assert.ok(!('creationTimeMs' in outgoing))
    assert.deepEqual(outgoing.properties, { iotAgentClock: 'untrusted' })
    assert.equal(outgoing.body, given.body)
  }
})

test("the agent's own sample has its inner time corrected as well, a local program's has not", () => {
  const body = '{"deviceId":"d","timestamp":"1970-01-01T00:10:00.000000+00:00","authType":"x509"}'
  const corrected = '{"deviceId":"d","timestamp":"2026-03-04T11:10:00.000000+00:00","authType":"x509"}'
  assert.equal(build(parcel(unsure({ stream: 'device', body }))).body, corrected)
  assert.equal(build(parcel(unsure({ stream: 'local', body }))).body, body)
  assert.equal(build(parcel(unsure({ stream: 'device', body }, 'last-boot'))).body, body)
  const batch = build(parcel(unsure({ stream: 'device', body }), unsure({ id: 's-2', stream: 'device', body })))
  assert.deepEqual(readBatch(batch.body)[1], {
    ...{ id: 's-2', time: '2026-03-04T11:10:00.000Z' },
    body: JSON.parse(corrected) as unknown,
  })
})

test('a batch is as trustworthy as the worst of its times, and leaves out what is not known', () => {
  const mixed = build(parcel(sample(), unsure({ id: 's-2' }), unsure({ id: 's-3' }, 'last-boot')))
  assert.equal(mixed.properties.iotAgentClock, 'untrusted')
  assert.equal(mixed.creationTimeMs, NOON)
  assert.deepEqual(
    readBatch(mixed.body).map(({ time }) => time),
    ['2026-03-04T12:00:00.000Z', '2026-03-04T11:10:00.000Z', undefined],
  )
  assert.equal(build(parcel(sample(), unsure({ id: 's-2' }))).properties.iotAgentClock, 'corrected')
})
