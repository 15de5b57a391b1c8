import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { noHead, trail } from './audit-chain.ts'
import type { AuditEntry, AuditFacts, AuditHead } from './audit-chain.ts'
import { openAuditFile } from './audit-file.ts'
import type { AuditFile, Waiting } from './audit-file.ts'
import { folderFailure } from './durable-folder.ts'

export type { AuditEntry, AuditHead } from './audit-chain.ts'

/**
 * What was done about the credentials of this device, one JSON line each, every line bound to the one before by its
 * hash: `audit.ndjson`, and `audit.1.ndjson` with the lines before it. Never more than twice `MAX_FILE_BYTES`, but for
 * what was tampered with, which is kept until somebody has seen to it.
 *
 * It shows a line that was changed, and lines that were removed from within. It does not hold against root on the
 * device, who can write the whole chain anew, nor against the removal of the last lines or of both files: what shows
 * those is the head, once it was reported where the device cannot change it, in the device twin.
 */
export interface Audit {
  /**
   * Appends an entry. Resolves when it is durable, or when the disk has refused it: then that was reported, once, and
   * the entry is tried again with the next. Never rejects: no move waits for its entry.
   */
  append(entry: AuditNote): Promise<void>
  /** Of the last line that is durable. */
  head(): AuditHead
  /** Whether what is kept has never been found tampered with. */
  readonly intact: boolean
  /** The newest entries, oldest first; at most `MAX_RECENT`. */
  recent(count: number): readonly AuditEntry[]
}

/** What is done, and what there is to say of it. */
export type AuditNote = AuditFacts & { readonly what: string }

/** Entries that wait for a disk that takes them; after these they are counted. */
export const MAX_QUEUED = 100

/** Entries that are held for `recent`. */
export const MAX_RECENT = 100

/**
 * Opens the trail, verifies it, cuts off half a line that a power cut has left, and begins another chain in place of one
 * that was tampered with, whose files are kept under names that say so. One process at a time.
 *
 * @param path of `audit.ndjson`; its folder is there
 * @param onTrouble told of AUDIT_TAMPERED, and of DISK_FULL or STATE_UNWRITABLE when the disk begins to refuse entries
 */
export async function openAudit(path: string, clock: Clock, onTrouble: (failure: Failure) => void): Promise<Audit> {
  const queue: Waiting[] = []
  let file: AuditFile | undefined
  let intact = true
  let recent: readonly AuditEntry[] = []
  let dropped = 0
  let isFailing = false
  let writing = Promise.resolve()

  const written = (...entries: readonly AuditEntry[]) => {
    recent = [...recent, ...entries].slice(-MAX_RECENT)
  }

  async function begin(): Promise<AuditFile> {
    const { entries, file: opened } = await openAuditFile(path, clock, onTrouble)
    intact = !entries.some(({ what }) => what === trail.tampered)
    written(...entries)
    return opened
  }

  /** Writes what waits, oldest first. */
  async function flush(): Promise<void> {
    try {
      file ??= await begin()
      for (let next = queue[0]; next !== undefined; next = queue[0]) {
        written(...(await file.put(next)))
        queue.shift()
      }
      if (dropped > 0) written(...(await file.put({ atMs: clock.now(), what: trail.dropped, facts: { dropped } })))
      dropped = 0
      isFailing = false
    } catch (error) {
      if (!isFailing) onTrouble(folderFailure(path, error))
      isFailing = true
    }
  }

  await flush()
  return {
    append({ what, ...facts }) {
      if (queue.length < MAX_QUEUED) queue.push({ atMs: clock.now(), what, facts })
      else dropped += 1
      writing = writing.then(flush)
      return writing
    },
    head: () => {
      const { seq, hash } = file?.head() ?? noHead
      return { seq, hash }
    },
    get intact() {
      return intact
    },
    recent: (count) => recent.slice(Math.max(0, recent.length - count)),
  }
}
