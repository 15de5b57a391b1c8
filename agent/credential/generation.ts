import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { keyStoreOf } from '../pki/key-store.ts'
import { readIfThere } from '../system/files.ts'
import { readAcceptanceNote } from './acceptance-note.ts'
import { CHAIN_FILE, KEY_FILE } from './pending.ts'
import { readVaultKey, requirePrivate } from './private-file.ts'
import type { OpenKeyPem } from './token-key.ts'
import { pairUp } from './x509-credential.ts'
import type { Pairing, X509Credential } from './x509-credential.ts'

/** What lies in the folder of one generation. */
export type GenerationState =
  | { readonly state: 'absent' }
  | { readonly state: 'whole'; readonly credential: X509Credential }
  | { readonly state: 'torn'; readonly why: string }

const NAME = /^gen-(\d{4,})$/

/** The number in any name that ever belonged to a generation, set aside or not; the highest is not used twice. */
const USED_NAME = /^gen-(\d{4,})(\.|$)/

/** Names of the generations among the entries of the vault, newest first. */
export function newestFirst(entries: readonly string[]): readonly string[] {
  return entries.filter((entry) => NAME.test(entry)).toSorted((a, b) => numberOf(b) - numberOf(a))
}

/** The name of the next generation. */
export function nextName(entries: readonly string[]): string {
  const highest = Math.max(0, ...entries.map(numberOf))
  return `gen-${String(highest + 1).padStart(4, '0')}`
}

/** @throws Failure KEY_EXPOSED, KEY_STORE_UNAVAILABLE */
export async function readGeneration(vault: string, name: string, open: OpenKeyPem): Promise<GenerationState> {
  const folder = join(vault, name)
  if (!(await requirePrivate(folder))) return { state: 'absent' }
  const keyFile = join(folder, KEY_FILE)
  const text = await readVaultKey(keyFile)
  if (text === undefined) return { state: 'torn', why: `${name} has no key` }
  const keyPem = await open(text, keyFile)
  const pairing = tryPairing(keyPem, keyFile, (await readIfThere(join(folder, CHAIN_FILE))) ?? '')
  if (!pairing.ok) return { state: 'torn', why: `${name}: ${pairing.why}` }
  const { chainPem, facts } = pairing
  const note = await readAcceptanceNote(folder)
  return {
    state: 'whole',
    credential: {
      ...{ lane: 'x509', origin: 'vault', generation: name },
      ...{ keyPem, keyStore: keyStoreOf(text), chainPem, keyFile, facts, ...note },
    },
  }
}

/** A key that cannot be parsed is one more way to be torn; one in a token that does not answer is not. */
export function tryPairing(keyPem: string, keyFile: string, chainPem: string): Pairing {
  try {
    return pairUp(keyPem, keyFile, chainPem)
  } catch (error) {
    if (error instanceof Failure && error.code !== 'KEY_STORE_UNAVAILABLE')
      return { ok: false, reason: 'unreadable', why: error.message }
    throw error
  }
}

function numberOf(entry: string): number {
  return Number(USED_NAME.exec(entry)?.[1] ?? 0)
}
