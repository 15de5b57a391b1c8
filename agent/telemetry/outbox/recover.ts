/**
 * What mends a damaged outbox. The one who opens it:
 *
 * 1. before opening: when `isUnfinished(path)`, an earlier recovery was cut off, and what lies under `path` is a part of
 *    it. Go on as after damage: `recover` throws that part away and begins again.
 * 2. on damage, with the file closed: `recover(path, take, clock)`. It moves the file and its -wal away; at the first
 *    call of `take` there is nothing under `path`. `take` stores the rows in a new file under `path`. Nothing else may
 *    be stored there, and nothing be sent from there, until step 3.
 * 3. once all that was taken is synced: `finishRecovery(path, nowMs)`.
 *
 * The pages are read as they lie in the file, without SQLite: it reaches a page only by those above it, and takes a file
 * with a damaged header for none at all.
 */
import type { Clock } from '../../system/clock.ts'
import { damagedPath, moveAway } from './set-aside.ts'
import type { DropCause } from './port.ts'
import { keyAt } from './schema.ts'
import type { SampleRow } from './schema.ts'
import { openTornFile } from './torn-file.ts'
import { merged } from './torn-rows.ts'
import { scan } from './torn-scan.ts'
import type { StreamName } from './torn-scan.ts'

export { finishRecovery, isUnfinished } from './set-aside.ts'

/** A row of the damaged file as it was stored, and the stream it belongs to: `recovered` when that is unknown. */
export interface RecoveredRow extends SampleRow, StreamName {}

export interface Recovery {
  readonly recovered: number
  /** Numbers missing between those that were found. */
  readonly lost: number
  /** Whether more may be missing than `lost` says, or, where the head of the file is gone, less. */
  readonly isUnsure: boolean
  /** Counts of the damaged file, where they could be read. */
  readonly dropped: Readonly<Partial<Record<DropCause, number>>>
}

/** Rows and bytes handed over at a time. */
const MAX_ROWS = 500
const MAX_BYTES = 1024 * 1024

/** What takes longer is given up, and half of that for finding what is there. */
const MAX_MS = 60_000

const UNKNOWN: StreamName = { name: 'recovered', priority: 'telemetry' }

/**
 * Hands over every sample that can be read, oldest first within each stream. Damage is never thrown.
 *
 * @throws Failure STATE_UNWRITABLE, ACCESS_DENIED  the file cannot be moved or read
 * @throws whatever `take` throws; the damaged file is then kept for the next try
 */
export async function recover(
  path: string,
  take: (rows: readonly RecoveredRow[]) => Promise<void> | void,
  clock: Pick<Clock, 'monotonicMs'>,
): Promise<Recovery> {
  await moveAway(path)
  const beganAtMs = clock.monotonicMs()
  await using file = await openTornFile(damagedPath(path), `${damagedPath(path)}-wal`)
  const found = await scan(file, clock, beganAtMs + MAX_MS / 2)
  let [recovered, lost, last, isComplete] = [0, 0, 0, found.isComplete]
  let rows: RecoveredRow[] = []
  let bytes = 0
  const handOver = async () => {
    if (rows.length > 0) await take(rows)
    rows = []
    bytes = 0
  }

  for await (const row of merged(file, found)) {
    if (clock.monotonicMs() > beganAtMs + MAX_MS) {
      isComplete = false
      break
    }
    if (keyAt(row.place) === keyAt(last)) lost += Math.max(0, row.place - last - 1)
    last = row.place
    recovered += 1
    rows.push({ ...row, ...(found.names.get(keyAt(row.place)) ?? UNKNOWN) })
    bytes += row.body.length
    if (rows.length === MAX_ROWS || bytes >= MAX_BYTES) await handOver()
  }
  await handOver()
  const isUnsure = !isComplete || !file.isWhole || found.known.includes(0)
  return { recovered, lost, isUnsure, dropped: Object.fromEntries(found.dropped) }
}
