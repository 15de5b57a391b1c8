import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode, makePrivateFolder, writeDurably } from '../system/files.ts'
import { MAX_CHAIN_BYTES } from './certificates-file.ts'
import type { ChainProblem } from './certificates-file.ts'

/** A certificate request as whoever turns it into a chain sees it. Nothing of it is secret. */
export interface IssueRequest {
  readonly registrationId: string
  /** PKCS#10, PEM. */
  readonly csrPem: string
}

/** What became of a chain; `postponed` when only its dates speak against it, and they may by a wrong clock. */
export type Reception =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'refused' | 'postponed'; readonly problems: readonly ChainProblem[] }

/** The two folders through which requests and chains are exchanged with an operator or a fleet script. */
export interface ExchangeFolders {
  readonly requestsDir: string
  readonly issuedDir: string
}

/** Where the request of a device is laid out for signing. */
export function requestPath(folders: ExchangeFolders, registrationId: string): string {
  return join(folders.requestsDir, `${plainName(registrationId)}.csr`)
}

/** Where the chain of a device is expected. */
export function issuedPath(folders: ExchangeFolders, registrationId: string): string {
  return join(folders.issuedDir, `${plainName(registrationId)}.pem`)
}

/** Lays a chain where the agent waits for it; the path comes back. @throws Failure DISK_FULL, STATE_UNWRITABLE */
export async function layDownChain(folders: ExchangeFolders, registrationId: string, pem: string): Promise<string> {
  const path = issuedPath(folders, registrationId)
  await makePrivateFolder(folders.issuedDir)
  await writeDurably(path, pem)
  return path
}

/**
 * The text of a file that somebody else wrote, or undefined when there is none. Reads one byte more than a chain may
 * have, so that a file of any size costs little and is still seen to be too large; never waits on a pipe.
 *
 * @throws Error as the file system gave it
 */
export async function readOffer(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!(await file.stat()).isFile()) return undefined
    return await readUpTo(file.createReadStream({ end: MAX_CHAIN_BYTES, autoClose: false }))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The text of a stream, cut off one byte beyond what a chain may have. */
export async function readUpTo(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of stream) {
    parts.push(part)
    size += part.length
    if (size > MAX_CHAIN_BYTES) break
  }
  return Buffer.concat(parts)
    .subarray(0, MAX_CHAIN_BYTES + 1)
    .toString('utf8')
}

/** A registration ID cannot hold a slash; this holds even if somebody lets one through. */
function plainName(registrationId: string): string {
  if (registrationId !== '' && basename(registrationId) === registrationId && !registrationId.startsWith('.')) {
    return registrationId
  }
  throw new Failure('CONFIG_INVALID', 'device.registrationId cannot be a file name', { context: { registrationId } })
}
