import { createHash, randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { readIfThere, syncFolder, writeDurably } from '../../system/files.ts'
import { isObject, parseJson } from '../../system/json.ts'

/**
 * The request ID under which a certificate request goes to the hub, kept before it goes: after a lost connection, a restart
 * or a power cut the same request is handed in under the same ID, and is the same operation.
 */
export interface RequestNote {
  /** The one for this request, made and stored now if there is none. @throws Failure DISK_FULL, STATE_UNWRITABLE */
  ridFor(csrPem: string): Promise<string>
  /** The next one is another. @throws Failure DISK_FULL, STATE_UNWRITABLE */
  forget(): Promise<void>
}

/** @param path a private file of the state folder */
export function openRequestNote(path: string): RequestNote {
  return {
    async ridFor(csrPem) {
      const csrSha256 = createHash('sha256').update(csrPem).digest('hex')
      const known = parseJson((await readIfThere(path)) ?? '')
      if (
        isObject(known) &&
        known['csrSha256'] === csrSha256 &&
        typeof known['rid'] === 'string' &&
        isRid(known['rid'])
      )
        return known['rid']
      const rid = randomUUID()
      await writeDurably(path, `${JSON.stringify({ rid, csrSha256 })}\n`)
      return rid
    },
    async forget() {
      await rm(path, { force: true })
      await syncFolder(dirname(path))
    },
  }
}

function isRid(text: string): boolean {
  return /^[0-9a-f-]{36}$/.test(text)
}
