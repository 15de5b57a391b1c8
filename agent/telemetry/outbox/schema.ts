import { Buffer } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { PLAIN_LABEL } from '../sample.ts'
import type { Label, Priority, Sample } from '../sample.ts'

/** What stands in the header of our files, so that another database is not taken for one: `iotb`. */
export const APPLICATION_ID = 0x69_6f_74_62

/** Layout of the tables. */
export const LAYOUT_VERSION = 1

/** Taken by a sample beside its body, ID and label. */
export const BYTES_BESIDE = 40

/** Numbers of a stream lie below this; a place is its key times this plus the number. Safe as a JavaScript number. */
const NUMBERS_OF_A_STREAM = 2 ** 40

/** Streams that one outbox holds; keys run from 1 to this. */
export const MAX_STREAMS = 1024

/** Of these, those that anybody may name, and those of the agent: alarms have one for each hour, for a month. */
export const MAX_NAMED_STREAMS = 256
export const MAX_OWN_STREAMS = MAX_STREAMS - MAX_NAMED_STREAMS

/**
 * For every connection. A small cache, as the process is small; the lock is kept, so that there is no shared memory file;
 * checkpoints are called for, never left to a commit (wal.ts).
 */
export const CONNECTION_PRAGMAS = `
PRAGMA page_size = 4096;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 8388608;
PRAGMA cache_size = -512;
PRAGMA temp_store = MEMORY;
PRAGMA cell_size_check = ON;
PRAGMA trusted_schema = OFF`

/**
 * A sample lies at its place, so that every stream is one run of keys: its newest is appended at the end of the run,
 * its oldest leave at the beginning, and what is between is never touched. A table by rowid takes half the room and
 * half the writing of one without, as bodies of up to a page stay in their leaf.
 *
 * - `batch`: number of the first sample of its batch; its own without batching
 * - `at`: wall time of arrival in milliseconds
 * - `created`: wall time of measurement in milliseconds
 * - `unsure`: `<bootId> <uptimeMs>`, when that clock was not to be believed; `?` when only `at` is not
 * - `label`: JSON; NULL for PLAIN_LABEL
 * - `sum`: bytes of all samples of the stream before this one, so that the size of a run needs its two ends only
 * - `crc`: CRC-32 of the other columns but `sum`: what is read from a damaged file is this sample, or none
 * - `body`: TEXT or BLOB
 */
export const CREATE_TABLES = `
PRAGMA application_id = ${APPLICATION_ID};
CREATE TABLE streams (
  key INTEGER PRIMARY KEY,
  priority TEXT NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (priority, name)
) STRICT;
CREATE TABLE samples (
  place INTEGER PRIMARY KEY,
  batch INTEGER NOT NULL,
  at INTEGER NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  unsure TEXT,
  label TEXT,
  sum INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  body ANY NOT NULL
) STRICT;
CREATE TABLE dropped (cause TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE aside (
  number INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  stream TEXT NOT NULL,
  id TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  label TEXT,
  body ANY NOT NULL
) STRICT;
PRAGMA user_version = ${LAYOUT_VERSION}`

/** A row of `samples`. Its columns are in this order in the table; `crc` is before the body. */
export interface SampleRow {
  readonly place: number
  readonly batch: number
  readonly at: number
  readonly id: string
  readonly created: number
  readonly unsure: string | null
  readonly label: string | null
  readonly sum: number
  readonly body: string | Uint8Array
}

/** A row of `streams`. */
export interface StreamRow {
  readonly key: number
  readonly priority: Priority
  readonly name: string
}

/** The columns that say what a sample is; the others say where it is. */
export type SampleColumns = Pick<SampleRow, 'id' | 'created' | 'unsure' | 'label' | 'body'>

/** Where the sample of this number lies; the first of a stream has number 1. */
export function placeOf(key: number, number: number): number {
  return key * NUMBERS_OF_A_STREAM + number
}

export function keyAt(place: number): number {
  return Math.floor(place / NUMBERS_OF_A_STREAM)
}

export function numberAt(place: number): number {
  return place % NUMBERS_OF_A_STREAM
}

const CAME_UNSURE = '?'

export function encodeRow(sample: Sample): SampleColumns {
  const { id, createdAtMs, unsure, cameUnsure, label, body } = sample
  return {
    id,
    created: Math.round(createdAtMs),
    unsure:
      unsure === undefined ? (cameUnsure ? CAME_UNSURE : null) : `${unsure.bootId} ${Math.round(unsure.uptimeMs)}`,
    label: isPlain(label) ? null : JSON.stringify(label),
    body,
  }
}

/** @throws SyntaxError when the label is no JSON: the file is damaged */
export function decodeRow(row: SampleColumns, stream: Pick<StreamRow, 'priority' | 'name'>): Sample {
  return {
    id: row.id,
    stream: stream.name,
    priority: stream.priority,
    createdAtMs: row.created,
    ...(row.unsure !== null && decodeUnsure(row.unsure)),
    label: row.label === null ? PLAIN_LABEL : (JSON.parse(row.label) as Label),
    body: row.body,
  }
}

export function crcOf({ place, batch, at, id, created, unsure, label, body }: Omit<SampleRow, 'sum'>): number {
  return crc32(body, crc32(`${place} ${batch} ${at} ${id} ${created} ${unsure} ${label}`))
}

/** Bytes that a sample takes of the room of the outbox. */
export function bytesOf(row: Pick<SampleRow, 'id' | 'label' | 'body'>): number {
  return bodyBytes(row.body) + Buffer.byteLength(row.id) + Buffer.byteLength(row.label ?? '') + BYTES_BESIDE
}

export function bodyBytes(body: string | Uint8Array): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
}

function decodeUnsure(text: string): Pick<Sample, 'unsure' | 'cameUnsure'> {
  if (text === CAME_UNSURE) return { cameUnsure: true }
  const [bootId = '', uptimeMs] = text.split(' ')
  return { unsure: { bootId, uptimeMs: Number(uptimeMs) } }
}

function isPlain(label: Label): boolean {
  const { contentType, contentEncoding, component, properties } = label
  return (
    contentType === PLAIN_LABEL.contentType &&
    contentEncoding === PLAIN_LABEL.contentEncoding &&
    component === undefined &&
    (properties === undefined || Object.keys(properties).length === 0)
  )
}
