/** Samples that say themselves what they must be: everything follows from the ID. */
import { priorities, PLAIN_LABEL } from '../../agent/telemetry/sample.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'
import { createChance } from '../kit/chance.ts'

/** The sample of this writer and number; the ID is `<writer>-<number>`. */
export function sampleOf(writer: number, number: number): Sample {
  const chance = createChance(writer * 1_000_003 + number)
  const kind = chance()
  const bytes = Math.floor(kind < 0.02 ? 20_000 + chance() * 60_000 : kind < 0.2 ? chance() * 6_000 : chance() * 300)
  const text = `${writer}-${number} ${chance()}`.repeat(Math.ceil(bytes / 20)).slice(0, bytes)
  return {
    id: `${writer}-${number}`,
    // Two of them write to the same stream.
    stream: writer === 1 ? 'stream-0' : `stream-${writer}`,
    priority: writer === 1 ? 'telemetry' : (priorities[writer % 3] ?? 'audit'),
    createdAtMs: 1_700_000_000_000 + number,
    label: chance() < 0.1 ? { contentType: 'text/plain', properties: { writer: String(writer) } } : PLAIN_LABEL,
    body: chance() < 0.2 ? Uint8Array.from(Buffer.from(text)) : text,
  }
}

/** Writer and number of an ID. */
export function parseId(id: string): readonly [writer: number, number: number] {
  const [writer, number] = id.split('-').map(Number)
  return [writer ?? Number.NaN, number ?? Number.NaN]
}
