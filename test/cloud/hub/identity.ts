/** Device identities as the registry of a hub writes them. */
import { randomBytes } from 'node:crypto'

import type { Identity, IdentityCredential } from '../model.ts'

/** An enabled identity that no credential fits yet. */
export function newIdentity(deviceId: string): Identity {
  return {
    deviceId,
    generationId: makeGenerationId(),
    etag: makeEtag(),
    status: 'enabled',
    statusReason: '',
    authentication: {
      type: 'none',
      symmetricKey: { primaryKey: null, secondaryKey: null },
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
    },
  }
}

/** The identity with another credential; members of another type stay in place and are not consulted. */
export function withCredential(identity: Identity, credential: IdentityCredential): Identity {
  const { symmetricKey, x509Thumbprint } = identity.authentication
  return {
    ...identity,
    etag: makeEtag(),
    authentication: {
      type: credential.type,
      symmetricKey:
        credential.type === 'sas'
          ? { primaryKey: credential.primaryKey, secondaryKey: credential.secondaryKey }
          : symmetricKey,
      x509Thumbprint:
        credential.type === 'selfSigned'
          ? {
              primaryThumbprint: bareThumbprint(credential.primaryThumbprint),
              secondaryThumbprint: bareThumbprint(credential.secondaryThumbprint),
            }
          : x509Thumbprint,
    },
  }
}

/** Digits only, as `638000000000000000`. */
export function makeGenerationId(): string {
  return (630_000_000_000_000_000n + (randomBytes(8).readBigUInt64BE() % 10_000_000_000_000_000n)).toString()
}

export function makeEtag(): string {
  return Buffer.from(JSON.stringify(String(randomBytes(4).readUInt32BE()))).toString('base64')
}

function bareThumbprint(thumbprint: string): string {
  return thumbprint.replaceAll(':', '').toUpperCase()
}
