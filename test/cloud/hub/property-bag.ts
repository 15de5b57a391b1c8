/** The property bag at the end of a D2C or C2D topic: `k=v&k2=v2`, names and values URL-encoded. Pure. */

export interface Bag {
  readonly properties: Readonly<Record<string, string | null>>
  readonly system: Readonly<Record<string, string>>
}

export type BagResult = { readonly ok: true; readonly value: Bag } | { readonly ok: false; readonly problem: string }

/** System properties by their name on the topic, and the name under which the event endpoint shows them. */
export const systemNames: Readonly<Record<string, string>> = {
  '$.mid': 'message-id',
  '$.cid': 'correlation-id',
  '$.uid': 'user-id',
  '$.to': 'to',
  '$.exp': 'absolute-expiry-time',
  '$.ct': 'content-type',
  '$.ce': 'content-encoding',
  '$.ifid': 'iothub-interface-id',
  '$.sub': 'dt-subject',
  '$.on': 'iothub-outputname',
  '$.ctime': 'iothub-creation-time-utc',
  'iothub-creation-time-utc': 'iothub-creation-time-utc',
}

/** Decodes a bag; a `?` in front and a `/` behind are tolerated, as SDKs send them. */
export function decodeBag(text: string): BagResult {
  const properties = new Map<string, string | null>()
  const system = new Map<string, string>()
  const bare = text.replace(/^\?/, '').replace(/\/$/, '')
  if (bare === '') return { ok: true, value: { properties: {}, system: {} } }
  for (const part of bare.split('&')) {
    const at = part.indexOf('=')
    const name = decode(at < 0 ? part : part.slice(0, at))
    const value = at < 0 ? null : decode(part.slice(at + 1))
    if (name === undefined || value === undefined)
      return { ok: false, problem: 'the property bag has a broken percent sign' }
    if (name === '') return { ok: false, problem: 'the property bag has a value without a name' }
    const systemName = Object.hasOwn(systemNames, name) ? systemNames[name] : undefined
    if (systemName === undefined) properties.set(name, value)
    else system.set(systemName, value ?? '')
  }
  return { ok: true, value: { properties: Object.fromEntries(properties), system: Object.fromEntries(system) } }
}

/** Encodes a bag for a topic; null stands without `=`. */
export function encodeBag(properties: Readonly<Record<string, string | null>>): string {
  return Object.entries(properties)
    .map(([name, value]) =>
      value === null ? encodeURIComponent(name) : `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
    )
    .join('&')
}

/** Bytes of names and values, which count towards the size of a message. */
export function bagBytes({ properties, system }: Bag): number {
  return [...Object.entries(properties), ...Object.entries(system)].reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value ?? ''),
    0,
  )
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    if (cause instanceof URIError) return undefined
    throw cause
  }
}
