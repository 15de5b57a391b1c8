import type { DatabaseSync } from 'node:sqlite'
import { dropCauses } from './port.ts'
import type { DropCause } from './port.ts'
import type { Undo } from './undo.ts'

export type Dropped = Readonly<Record<DropCause, number>>

/** How many samples were given up, over all restarts. */
export interface Tally {
  totals(): Dropped
  add(cause: DropCause, count: number): void
  /** Whether something is to be written. */
  isChanged(): boolean
  /** Writes what has changed; part of a transaction. */
  write(): void
}

export function createTally(database: DatabaseSync, undo: Undo): Tally {
  const put = database.prepare('INSERT OR REPLACE INTO dropped (cause, count) VALUES (?, ?)')
  const totals: Record<DropCause, number> = { full: 0, expired: 0, refused: 0, torn: 0 }
  for (const { cause, count } of database.prepare('SELECT cause, count FROM dropped').all())
    if (isCause(cause)) totals[cause] = Number(count)
  let written: Dropped = { ...totals }
  const changed = () => dropCauses.filter((cause) => totals[cause] !== written[cause])
  return {
    totals: () => ({ ...totals }),
    isChanged: () => changed().length > 0,
    add(cause, count) {
      totals[cause] += count
      undo.note(() => {
        totals[cause] -= count
      })
    },
    write() {
      const before = written
      undo.note(() => {
        written = before
      })
      for (const cause of changed()) put.run(cause, totals[cause])
      written = { ...totals }
    },
  }
}

function isCause(cause: unknown): cause is DropCause {
  return dropCauses.some((known) => known === cause)
}
