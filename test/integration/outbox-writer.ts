/**
 * A process that fills an outbox until it is killed: OUTBOX is its file, NOTES the file in which it says what it did,
 * FIRST the number of its first samples, PAUSE_MS how long each of its callers waits at most between two appends, and
 * SYNC_MS how long the disk takes before it syncs the log; `never` if it says that it did and did not. A note `kept ID…`
 * is written after the answer, `gone ID…` before the acknowledgement.
 */
import { openSync, writeSync } from 'node:fs'
import { asFailure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import type { Outbox } from '../../agent/telemetry/outbox/port.ts'
import { createChance } from '../kit/chance.ts'
import { sampleOf } from './outbox-content.ts'

const { OUTBOX = '', NOTES = '', FIRST = '0', PAUSE_MS = '0', SYNC_MS = '0' } = process.env
const notes = openSync(NOTES, 'a')
const chance = createChance(Number(FIRST))
const note = (what: string, ids: readonly string[]) => writeSync(notes, `${what} ${ids.join(' ')}\n`)

/** Samples left in a stream by the one who acknowledges. */
const ENOUGH = 300

const outbox = await openOutbox(OUTBOX, {
  clock: systemClock,
  limits: { maxBytes: 1e9, maxAgeMs: 1e12, batchSamples: 3, batchMs: 50 },
  onFailure: ({ code, message }) => note('failure', [code, message]),
  async sync(datasync) {
    if (SYNC_MS === 'never') return
    await systemClock.wait(Number(SYNC_MS))
    await datasync()
  },
})
await Promise.all([0, 1, 2, 3, 4].map((writer) => write(outbox, writer)))

async function write(into: Outbox, writer: number): Promise<void> {
  for (let number = Number(FIRST); ;) {
    const count = 1 + Math.floor(chance() * 4)
    const samples = Array.from({ length: count }, (_, index) => sampleOf(writer, number + index))
    number += count
    try {
      await into.append(samples, 'synced')
      note(
        'kept',
        samples.map(({ id }) => id),
      )
    } catch (error) {
      note('failure', [asFailure(error).message])
      return
    }
    if (chance() < 0.2) takeOut(into)
    await systemClock.wait(chance() * Number(PAUSE_MS))
  }
}

/** What the cloud does: the oldest of a stream, some at a time. */
function takeOut(from: Outbox): void {
  from.closeBatches(chance() < 0.2)
  for (const { key, head, tail } of from.streams()) {
    let left = Math.floor(chance() * 30)
    for (let after = head - 1; tail - after > ENOUGH && left > 0; left -= 1) {
      const parcel = from.next(key, after)
      if (parcel === undefined) break
      note(
        'gone',
        parcel.samples.map(({ id }) => id),
      )
      from.acknowledge(parcel)
      after = parcel.last
    }
  }
}
