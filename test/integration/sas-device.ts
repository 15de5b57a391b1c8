/** Symmetric keys of the stand-in's enrollments and identities, for devices on the lane `sas`. */
import { createSecretKey, randomBytes } from 'node:crypto'
import type { WireCredential } from '../../agent/wire/credential.ts'
import { newIdentity, withCredential } from '../cloud/hub/identity.ts'
import type { Bench } from './session-device.ts'

/** A primary and a secondary key, base64. */
export interface Keys {
  readonly primaryKey: string
  readonly secondaryKey: string
}

export function makeKeys(): Keys {
  return { primaryKey: newKey(), secondaryKey: newKey() }
}

/** 32 bytes, base64. */
export function newKey(): string {
  return randomBytes(32).toString('base64')
}

export function sas(key: string): WireCredential {
  return { lane: 'sas', key: createSecretKey(Buffer.from(key, 'base64')) }
}

/** Makes an enrollment by symmetric key at DPS: of one device, or of a group. */
export function enrollByKey({ cloud }: Bench, kind: 'individual' | 'group', id: string, keys: Keys = makeKeys()): Keys {
  cloud.dps.enrollments.put(kind, id, { attestation: { type: 'symmetricKey', symmetricKey: keys } })
  return keys
}

/** Makes an identity at the hub that DPS knows nothing of. */
export function putDirectIdentity({ cloud }: Bench, deviceId: string, keys: Keys = makeKeys()): Keys {
  cloud.hub.putIdentity(withCredential(newIdentity(deviceId), { type: 'sas', ...keys }))
  return keys
}
