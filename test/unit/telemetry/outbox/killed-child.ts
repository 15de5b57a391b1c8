/**
 * Appends to the outbox of argv[2] without an end, from several callers at once; tells of each ID on stdout once it was
 * answered. Its parent kills it.
 */
import { writeSync } from 'node:fs'
import { systemClock } from '../../../../agent/system/clock.ts'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import { sample } from '../../../kit/outbox.ts'

const limits = { maxBytes: 1e9, maxAgeMs: 1e12, batchSamples: 1, batchMs: 5000 }
const outbox = await openOutbox(process.argv[2] ?? '', {
  clock: systemClock,
  limits,
  onFailure(failure) {
    throw failure
  },
})
const body = 'x'.repeat(700)

async function append(stream: string, durability: 'synced' | 'written') {
  for (let at = 0; ; at += 3) {
    const ids = [at, at + 1, at + 2].map((number) => `${stream}-${number}`)
    await outbox.append(
      ids.map((id) => sample(id, { stream, body })),
      durability,
    )
    writeSync(1, `${ids.join('\n')}\n`)
  }
}

await Promise.all([append('a', 'synced'), append('b', 'synced'), append('c', 'written')])
