import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkChain } from '../../../agent/pki/chain.ts'
import type { CheckedChain } from '../../../agent/pki/chain.ts'
import { vaultKeysFor } from '../../../agent/credential/token-key.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import type { PendingRequest, Vault } from '../../../agent/credential/vault.ts'
import type { Failure } from '../../../agent/failure.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import type { Clock } from '../../../agent/system/clock.ts'
import { makeRoot, openssl } from '../../kit/openssl.ts'
import type { Authority, Profile } from '../../kit/openssl.ts'

export const ID = 'edge-0042'
/** Where keys are made unless a test says otherwise. */
export const keysInFile = { keyStore: 'file', encryptionKeyFile: '/nowhere' } as const

export const wanted = { registrationId: ID, keyType: 'ec-p256' } as const

/** A vault in which nothing may be found torn. */
export function openSound(stateDir: string, clock: Clock = systemClock): Promise<Vault> {
  return openVault(
    stateDir,
    clock,
    (failure) => {
      throw failure
    },
    vaultKeysFor(keysInFile, clock),
  )
}

/** A vault in which something is torn, with what was reported of it so far. */
export async function openTorn(
  stateDir: string,
): Promise<{ readonly vault: Vault; readonly repairs: readonly Failure[] }> {
  const repairs: Failure[] = []
  const keys = vaultKeysFor(keysInFile, systemClock)
  return { vault: await openVault(stateDir, systemClock, (failure) => void repairs.push(failure), keys), repairs }
}

/** An authority that signs requests of the vault; what it gives is checked as the agent checks it. */
export interface TestIssuer {
  readonly intermediate: Authority
  chainFor(request: PendingRequest, profile?: Profile): Promise<string>
  checkedFor(request: PendingRequest, profile?: Profile): Promise<CheckedChain>
}

export async function makeTestIssuer(folder: string): Promise<TestIssuer> {
  const intermediate = await (await makeRoot(folder, 'Root')).makeIntermediate('Intermediate')
  const chainFor = async (request: PendingRequest, profile: Profile = {}) =>
    (await intermediate.sign(request.csrPem, profile)) + intermediate.certificatePem
  return {
    intermediate,
    chainFor,
    async checkedFor(request, profile) {
      const verdict = checkChain({ ...request, pem: await chainFor(request, profile), nowMs: Date.now() })
      if (!verdict.ok) throw new Error(JSON.stringify(verdict.problems))
      return verdict.value
    },
  }
}

/** The public key of a request by openssl, and that of a key file: equal when they belong together. */
export async function publicKeys(folder: string, csrPem: string, keyFile: string): Promise<readonly [string, string]> {
  const path = join(folder, 'compare.csr')
  await writeFile(path, csrPem)
  return [
    await openssl(['req', '-in', path, '-noout', '-pubkey', '-verify']),
    await openssl(['pkey', '-in', keyFile, '-pubout']),
  ]
}
