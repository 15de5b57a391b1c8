import { rmSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Vault } from '../../../agent/credential/vault.ts'
import type { X509Credential } from '../../../agent/credential/x509-credential.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { makeTestIssuer, openSound, wanted } from './fixture.ts'

const authorities = await makeTemporaryFolder()
process.once('exit', () => rmSync(authorities.path, { recursive: true, force: true }))
export const issuer = await makeTestIssuer(authorities.path)

/** Vaults that tests work on copies of: one generation in use; the same and an open request, with the chain for it. */
const inUse = join(authorities.path, 'in-use')
export const waiting = join(authorities.path, 'waiting')
{
  const vault = await openSound(inUse)
  await vault.activate(refOf(await vault.accept(await issuer.checkedFor(await vault.request(wanted)))))
}
await cp(inUse, waiting, { recursive: true })
export const openRequest = await (await openSound(waiting)).request(wanted)
export const openChain = await issuer.checkedFor(openRequest)

export function refOf({ generation = '' }: X509Credential): CredentialRef {
  return { lane: 'x509', generation }
}

export const generation = (name: string): CredentialRef => ({ lane: 'x509', generation: name })
export const namesIn = async (vault: Vault) => (await vault.generations()).map((each) => each.generation)

export async function preparedState(
  from = inUse,
): Promise<AsyncDisposable & { readonly path: string; readonly vault: string }> {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'state')
  await cp(from, path, { recursive: true, preserveTimestamps: true })
  return { path, vault: join(path, 'credentials'), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}
