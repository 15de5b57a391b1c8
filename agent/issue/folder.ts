import { createHash } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { looksComplete } from '../pki/certificates-file.ts'
import { issuedPath, readOffer, requestPath } from '../pki/exchange.ts'
import type { ExchangeFolders, IssueRequest } from '../pki/exchange.ts'
import type { Clock } from '../system/clock.ts'
import { makePrivateFolder, readIfThere, writeDurably } from '../system/files.ts'
import { watchFolder } from './folder-watch.ts'
import type { Issuer } from './port.ts'

export interface FolderIssuerOptions extends ExchangeFolders {
  readonly clock: Clock
  /** Told what went wrong with the folders while waiting goes on. */
  readonly warn: (failure: Failure) => void
}

/** Requests hold nothing secret, and another user may have to fetch them. */
const PUBLIC_FILE = 0o644

/** How long a file must stay as it is before it counts as written; longer when a PEM block is still open. */
const SETTLED_MS = 500
const SETTLED_OPEN_MS = 10_000

/** The watch is told of every change; this is for file systems that do not tell. */
const POLL_MS = 30_000

/** How long a postponed chain is left alone. */
const POSTPONED_MS = 60_000

/**
 * The issuer that is an operator or a fleet script: lays the request out as `requests/<registrationId>.csr` and waits
 * for `issued/<registrationId>.pem`.
 */
export function createFolderIssuer(options: FolderIssuerOptions): Issuer {
  const { clock, warn } = options
  /** The last file taken. */
  let taken = ''
  /** What is left alone for as long as it lies there: a postponed chain, or a refused one that could not be moved. */
  let ignored: { readonly text: string; readonly untilMs: number } | undefined

  async function lookAt(path: string): Promise<string | undefined> {
    const text = await readOffer(path).catch((error: unknown) => {
      warn(asFailure(error))
      return undefined
    })
    if (text === ignored?.text && clock.monotonicMs() < (ignored?.untilMs ?? 0)) return undefined
    ignored = undefined
    return text
  }

  return {
    name: 'folder',
    async issue(request, signal) {
      signal.throwIfAborted()
      await layOut(options, request)
      const path = issuedPath(options, request.registrationId)
      using watch = watchFolder(options.issuedDir, clock, warn)
      for (;;) {
        const text = await lookAt(path)
        if (text === undefined) {
          await watch.changed(POLL_MS, signal)
          continue
        }
        const stirred = await watch.changed(looksComplete(text) ? SETTLED_MS : SETTLED_OPEN_MS, signal)
        if (stirred || (await lookAt(path)) !== text) continue
        taken = text
        return text
      }
    },
    async received(request, reception) {
      try {
        switch (reception.outcome) {
          case 'accepted':
            return await clearAway(options, request)
          case 'postponed':
            ignored = { text: taken, untilMs: clock.monotonicMs() + POSTPONED_MS }
            return undefined
          case 'refused':
            return await setRefusedAside(request, reception.problems[0]?.code ?? 'CHAIN')
        }
      } catch (error) {
        warn(asFailure(error))
      }
    },
  }

  /**
   * The file gets the reason into its name, unless somebody has already put another one there. When it is laid down
   * once more it is judged once more, and takes the same name again.
   */
  async function setRefusedAside(request: IssueRequest, reason: string): Promise<void> {
    const path = issuedPath(options, request.registrationId)
    if ((await readOffer(path)) !== taken) return
    ignored = { text: taken, untilMs: Infinity }
    await rename(path, `${path}.refused-${reason}-${digest(taken)}`)
    ignored = undefined
  }
}

async function layOut(folders: ExchangeFolders, request: IssueRequest): Promise<void> {
  await makePrivateFolder(folders.requestsDir)
  await makePrivateFolder(folders.issuedDir)
  const path = requestPath(folders, request.registrationId)
  if ((await readIfThere(path)) !== request.csrPem) await writeDurably(path, request.csrPem, PUBLIC_FILE)
}

/** The chain is in the vault: nothing is left to sign and nothing to install. */
async function clearAway(folders: ExchangeFolders, request: IssueRequest): Promise<void> {
  await rm(requestPath(folders, request.registrationId), { force: true })
  await rm(issuedPath(folders, request.registrationId), { force: true })
}

/** Enough of a hash to tell a few files apart. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
