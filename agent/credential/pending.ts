import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { makeCsr } from '../pki/csr.ts'
import { keyKind, readPublicKey } from '../pki/key.ts'
import type { KeyType } from '../pki/key.ts'
import { keyStoreOf } from '../pki/key-store.ts'
import type { KeyStore } from '../pki/key-store.ts'
import { exists, readIfThere, writeDurably } from '../system/files.ts'
import { makeFolderDurably } from './durable-folder.ts'
import { readVaultKey, requirePrivate } from './private-file.ts'
import type { OpenKeyPem, VaultKeys } from './token-key.ts'

/** What a request is made for. */
export interface Wanted {
  readonly registrationId: string
  readonly keyType: KeyType
  /** A request for a key of another kind, or in another place, does not do. */
  readonly exactly?: true
}

/** A certificate request that waits for its issuer. The key itself stays in the vault. */
export interface PendingRequest {
  readonly registrationId: string
  /** PKCS#10, PEM. */
  readonly csrPem: string
  readonly publicKey: KeyObject
  /** `ec-p256`, `rsa-2048`, … */
  readonly keyKind: string
  readonly keyStore: KeyStore
  /** Where the key is on disk. */
  readonly keyFile: string
  /** ISO 8601, UTC, by the clock of that moment. */
  readonly requestedAt: string
}

/** What lies in the folder. Only the key cannot be had again: the rest is made anew from it. */
export type PendingState =
  | { readonly state: 'absent' }
  | { readonly state: 'whole'; readonly request: PendingRequest; readonly keyPem: string }
  | { readonly state: 'keyOnly'; readonly keyPem: string }
  | { readonly state: 'torn'; readonly why: string }

export const KEY_FILE = 'key.pem'
export const CHAIN_FILE = 'chain.pem'
const CSR_FILE = 'request.csr'
const META_FILE = 'meta.json'

const TORN_KEY = 'its key is missing or unreadable, so that a chain for this request fits no more'

/** @throws Failure KEY_EXPOSED, KEY_STORE_UNAVAILABLE */
export async function readPending(folder: string, open: OpenKeyPem): Promise<PendingState> {
  if (!(await requirePrivate(folder))) return { state: 'absent' }
  const keyFile = join(folder, KEY_FILE)
  const text = await readVaultKey(keyFile)
  // Without key because another process has just made a generation of it.
  if (text === undefined && !(await exists(folder))) return { state: 'absent' }
  const keyPem = text === undefined ? undefined : await open(text, keyFile)
  const publicKey = readable(() => readPublicKey(keyPem ?? '', keyFile))
  if (publicKey === undefined || keyPem === undefined) return { state: 'torn', why: TORN_KEY }
  const meta = parseMeta(await readIfThere(join(folder, META_FILE)))
  const csrPem = await readIfThere(join(folder, CSR_FILE))
  if (meta === undefined || !isWholeRequest(csrPem)) return { state: 'keyOnly', keyPem }
  return {
    state: 'whole',
    keyPem,
    request: { ...meta, csrPem, publicKey, keyKind: keyKind(publicKey), keyStore: keyStoreOf(text ?? ''), keyFile },
  }
}

/**
 * Makes key, request and note together; after a power cut all of it is there or nothing.
 *
 * @returns false when somebody else was first
 * @throws Failure DISK_FULL, STATE_UNWRITABLE, CONFIG_INVALID
 */
export async function makePending(folder: string, wanted: Wanted, nowMs: number, keys: VaultKeys): Promise<boolean> {
  const text = await keys.make(wanted.keyType)
  const keyFile = join(folder, KEY_FILE)
  const signer = keys.signer(await keys.open(text, keyFile), keyFile)
  const { pem } = await makeCsr(signer, wanted.registrationId)
  return makeFolderDurably(folder, {
    [KEY_FILE]: text,
    [CSR_FILE]: pem,
    [META_FILE]: writeMeta(wanted.registrationId, nowMs),
  })
}

/** Makes request and note anew for a key that has lost them. */
export async function mendPending(
  folder: string,
  keyPem: string,
  registrationId: string,
  nowMs: number,
  keys: Pick<VaultKeys, 'signer'>,
): Promise<void> {
  const { pem } = await makeCsr(keys.signer(keyPem, join(folder, KEY_FILE)), registrationId)
  await writeDurably(join(folder, CSR_FILE), pem)
  await writeDurably(join(folder, META_FILE), writeMeta(registrationId, nowMs))
}

function writeMeta(registrationId: string, nowMs: number): string {
  return `${JSON.stringify({ registrationId, requestedAt: new Date(nowMs).toISOString() }, undefined, 2)}\n`
}

function parseMeta(text: string | undefined): Pick<PendingRequest, 'registrationId' | 'requestedAt'> | undefined {
  try {
    const meta: unknown = JSON.parse(text ?? '')
    if (typeof meta !== 'object' || meta === null) return undefined
    if (!('registrationId' in meta) || !('requestedAt' in meta)) return undefined
    const { registrationId, requestedAt } = meta
    if (typeof registrationId !== 'string' || typeof requestedAt !== 'string') return undefined
    return isStamp(requestedAt) ? { registrationId, requestedAt } : undefined
  } catch {
    return undefined
  }
}

/** Whether the text is a time as we write it. */
function isStamp(text: string): boolean {
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text
}

function isWholeRequest(pem: string | undefined): pem is string {
  return /^-----BEGIN CERTIFICATE REQUEST-----[^-]+-----END CERTIFICATE REQUEST-----\n$/.test(pem ?? '')
}

function readable(read: () => KeyObject): KeyObject | undefined {
  try {
    return read()
  } catch (error) {
    // A token that does not answer now holds its key as before: nothing is torn.
    if (error instanceof Failure && error.code !== 'KEY_STORE_UNAVAILABLE') return undefined
    throw error
  }
}
