import { createSecretKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'

/** How DPS knows a key: the one of an enrollment of this device alone, or derived for it from that of a group. */
export type Enrollment = 'group' | 'individual'

/** What a device connection string says. */
export interface DirectIdentity {
  /** `name` or `name:port`, lower case. */
  readonly hub: string
  /** Case-sensitive. */
  readonly deviceId: string
  readonly key: KeyObject
}

/** Base64 as the cloud reads it: the usual alphabet, padded. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Bytes of a symmetric key. Source: azure-docs, concepts-symmetric-key-attestation. */
const KEY_BYTES = { min: 16, max: 64 }

/** Bytes of a key that was derived from that of a group: it is an HMAC-SHA256. Source: as for `KEY_BYTES`. */
const DERIVED_KEY_BYTES = 32

/** A name and perhaps a port; `wire/address.ts` looks closer before it is used. */
const HOST = /^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$/

/** Device IDs that IoT Hub has. Source: its identity registry. */
const DEVICE_ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}$/

/**
 * Reads the key of a device at DPS. No failure quotes the text.
 *
 * @throws Failure SAS_SECRET_INVALID not base64 of 16 to 64 bytes
 * @throws Failure SAS_GROUP_KEY      certainly not the key of one device
 */
export function parseKey(text: string, enrollment: Enrollment, path: string): KeyObject {
  const line = oneLine(text, path)
  const fields = line.includes(';') ? fieldsOf(line) : undefined
  if (fields !== undefined) {
    refusePolicy(fields, path)
    throw bad('SAS_SECRET_INVALID', path, 'is not a base64 key but a list of fields, as a connection string is')
  }
  const key = keyOf(line, path)
  if (enrollment === 'group' && key.symmetricKeySize !== DERIVED_KEY_BYTES) {
    const fact = `has a key of ${key.symmetricKeySize} bytes; one that was derived for a device has exactly ${DERIVED_KEY_BYTES}, so this is another, as the key of the whole group`
    throw bad('SAS_GROUP_KEY', path, fact)
  }
  return key
}

/**
 * Reads the connection string of a device. No failure quotes the text.
 *
 * @throws Failure SAS_SECRET_INVALID a field is missing or not to be used here
 * @throws Failure SAS_GROUP_KEY      it is that of a policy
 */
export function parseConnectionString(text: string, path: string): DirectIdentity {
  const fields = fieldsOf(oneLine(text, path))
  refusePolicy(fields, path)
  if (fields.get('x509')?.toLowerCase() === 'true') {
    throw bad('SAS_SECRET_INVALID', path, 'says x509=true: a connection string without a key')
  }
  for (const name of ['GatewayHostName', 'ModuleId']) {
    if (fields.has(name.toLowerCase())) {
      throw bad('SAS_SECRET_INVALID', path, `has ${name}, and this agent connects to the hub itself, as a device`)
    }
  }
  const [hub, deviceId, key] = ['HostName', 'DeviceId', 'SharedAccessKey'].map((name) => {
    const value = fields.get(name.toLowerCase()) ?? ''
    if (value === '') throw bad('SAS_SECRET_INVALID', path, `has no ${name}`)
    return value
  }) as [string, string, string]
  if (!HOST.test(hub)) throw bad('SAS_SECRET_INVALID', path, 'has a HostName that is no host name')
  if (!DEVICE_ID.test(deviceId)) throw bad('SAS_SECRET_INVALID', path, 'has a DeviceId that no hub has')
  return { hub: hub.toLowerCase(), deviceId, key: keyOf(key, path) }
}

/** Editors of other systems begin a file with a byte order mark and end its lines with CR and LF. */
function oneLine(text: string, path: string): string {
  const line = text.replace(/^\uFEFF/, '').trim()
  if (line === '') throw bad('SAS_SECRET_INVALID', path, 'is empty')
  if (/[\r\n]/.test(line)) throw bad('SAS_SECRET_INVALID', path, 'has more than one line')
  return line
}

/** Names in lower case; a value ends at a semicolon only, since base64 ends in `=`. */
function fieldsOf(line: string): ReadonlyMap<string, string> {
  return new Map(
    line.split(';').map((part) => {
      const at = part.indexOf('=')
      return [part.slice(0, Math.max(at, 0)).trim().toLowerCase(), part.slice(at + 1).trim()]
    }),
  )
}

function refusePolicy(fields: ReadonlyMap<string, string>, path: string): void {
  if (!fields.has('sharedaccesskeyname')) return
  throw bad('SAS_GROUP_KEY', path, 'has SharedAccessKeyName: the key of a policy, which opens far more than one device')
}

function keyOf(base64: string, path: string): KeyObject {
  const bytes = Buffer.from(base64, 'base64')
  if (!BASE64.test(base64) || bytes.length < KEY_BYTES.min || bytes.length > KEY_BYTES.max) {
    throw bad('SAS_SECRET_INVALID', path, `has no key that is base64 of ${KEY_BYTES.min} to ${KEY_BYTES.max} bytes`)
  }
  return createSecretKey(bytes)
}

function bad(code: FailureCode, path: string, fact: string): Failure {
  return new Failure(code, `${path} ${fact}`, { context: { path } })
}
