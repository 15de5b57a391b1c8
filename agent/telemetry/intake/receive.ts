import { randomUUID } from 'node:crypto'
import { isUtf8 } from 'node:buffer'
import { Failure } from '../../failure.ts'
import type { Durability } from '../outbox/port.ts'
import type { Sample } from '../sample.ts'
import type { Admit } from './admission.ts'
import { answer, BROKEN, statusOf } from './answer.ts'
import type { Exchange } from './answer.ts'
import { checkAudit } from './audit.ts'
import { chunksOf } from './chunks.ts'
import type { IntakeOptions } from './port.ts'
import type { Wanted } from './request.ts'
import { makeSample, MAX_BODY_BYTES, samplesOfText } from './sample-of.ts'
import type { Given } from './sample-of.ts'
import { tooLarge, withWhole } from './whole.ts'
import type { Room } from './whole.ts'

/** What the requests of all clients share. */
export interface Door {
  readonly options: IntakeOptions
  readonly admit: Admit
  readonly room: Room
  /** Hear of what is to be counted. */
  readonly stored: (samples: number) => void
  readonly refused: (failure: Failure) => void
}

/** A request on its way in. */
export interface Arriving extends Exchange {
  readonly door: Door
  readonly wanted: Wanted
  /** The client waits for a word before it sends the body (RFC 9110, 10.1.1). */
  readonly awaitsContinue: boolean
}

/** Largest request of JSON that is not read line by line. */
const MAX_JSON_BYTES = 8 * 1024 * 1024

/** Source: IoT Hub quotas and throttling, metering of device-to-cloud messages. */
const SHARE_BYTES = 4 * 1024

/**
 * Stores a body that is read as a whole, all of its samples or none, and answers.
 *
 * @throws Failure TELEMETRY_…, and those of the outbox
 */
export async function receiveWhole(arriving: Arriving): Promise<void> {
  const { door, wanted, request } = arriving
  const maxBytes = wanted.form === 'opaque' ? MAX_BODY_BYTES : MAX_JSON_BYTES
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  await withWhole(readBody(arriving), { maxBytes, room: door.room }, async (body) => {
    const samples = samplesIn(body, wanted, given(door))
    await store(arriving, samples, false)
    const { durability } = wanted
    const ids = samples.map(({ id }) => id)
    await answer(arriving, 200, { stored: samples.length, ids, durability }, door.options.clock)
  })
}

/** The body, with the word that the client may wait for; it has to keep coming. */
export async function* readBody({ request, response, client, awaitsContinue }: Arriving): AsyncGenerator<Buffer> {
  if (awaitsContinue) response.writeContinue()
  client.expect('body')
  for await (const chunk of chunksOf(request, client.ended)) {
    client.expect('nothing')
    yield chunk
    client.expect('body')
  }
  client.expect('nothing')
}

/** Lets samples in and keeps them. A stream that has begun waits for its quota. */
export async function store(
  { client, door, wanted }: Arriving,
  samples: readonly Sample[],
  isPatient: boolean,
): Promise<void> {
  if (samples.length === 0) return
  const uid = () => client.uid()
  await checkAudit(samples, uid, door.options.ownUid ?? process.getuid?.())
  await door.admit({ count: sharesOf(samples), uid, isPatient }, client.ended)
  await append(door, samples, wanted.durability)
}

/** A sample counts once for each 4 KiB that it begins, as a message does for the hub: large ones fill the outbox as well. */
function sharesOf(samples: readonly Sample[]): number {
  return samples.reduce((sum, { body }) => sum + Math.max(1, Math.ceil(Buffer.byteLength(body) / SHARE_BYTES)), 0)
}

/** What samples get that are read at this moment. */
export function given({ options }: Door): Given {
  return { newId: randomUUID, stamp: options.stamp() }
}

/** @throws Failure TELEMETRY_INVALID the bytes are not UTF-8 */
export function utf8Of(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  throw new Failure('TELEMETRY_INVALID', 'the text is not in UTF-8')
}

async function append(door: Door, samples: readonly Sample[], durability: Durability): Promise<void> {
  await door.options.append(samples, durability)
  door.stored(samples.length)
}

function samplesIn(body: Buffer, wanted: Wanted, given: Given): readonly Sample[] {
  if (wanted.form !== 'opaque') return samplesOfText(withoutMark(utf8Of(body)), wanted, given)
  return [makeSample(wanted.said, wanted.isText ? utf8Of(body) : body, given)]
}

/** Some editors begin a file with a byte order mark. */
function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text
}

/** Counts a refusal; of one that is our fault the agent hears. */
export function noteRefusal({ options, refused }: Door, failure: Failure): void {
  refused(failure)
  if (statusOf(failure) === BROKEN) options.onFailure(failure)
}
