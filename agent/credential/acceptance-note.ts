import { join } from 'node:path'
import { readIfThere, writeDurably } from '../system/files.ts'
import { isObject, parseJson } from '../system/json.ts'

/** What is noted beside a chain when it is accepted. A credential works without it. */
export interface AcceptanceNote {
  /** The issuer that brought it. */
  readonly issuedBy: string
  /** By the clock of that moment; wall time. */
  readonly acceptedAtMs: number
}

const NOTE_FILE = 'accepted.json'

/** @throws Failure DISK_FULL, STATE_UNWRITABLE */
export async function writeAcceptanceNote(folder: string, { issuedBy, acceptedAtMs }: AcceptanceNote): Promise<void> {
  const note = { issuedBy, acceptedAt: new Date(acceptedAtMs).toISOString() }
  await writeDurably(join(folder, NOTE_FILE), `${JSON.stringify(note)}\n`)
}

/** Nothing for a generation without a note, as an older agent made it, and for a note that cannot be read. */
export async function readAcceptanceNote(folder: string): Promise<Partial<AcceptanceNote>> {
  const note = parseJson((await readIfThere(join(folder, NOTE_FILE))) ?? '')
  if (!isObject(note)) return {}
  const { issuedBy, acceptedAt } = note
  const acceptedAtMs = typeof acceptedAt === 'string' ? Date.parse(acceptedAt) : Number.NaN
  return {
    ...(typeof issuedBy === 'string' && { issuedBy }),
    ...(!Number.isNaN(acceptedAtMs) && { acceptedAtMs }),
  }
}
