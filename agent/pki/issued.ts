/** What a chain of certificates may have at most: more is no chain of a device. */
const MAX_CERTIFICATES = 10
const MAX_CHARACTERS = 64 * 1024

/**
 * The certificates of an answer of certificate management as PEM, in the order in which they came: whoever judges them
 * finds the leaf by its key. Each is base64 of DER as documented, or PEM as some samples show it.
 *
 * @param value untrusted: a member of an answer
 * @returns undefined where none came; `unreadable` for what is no list of such texts
 */
export function pemOfIssued(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value) || value.length > MAX_CERTIFICATES) return 'unreadable'
  const texts = value as readonly unknown[]
  const pems = texts.map((text) => (typeof text === 'string' ? pemOf(text) : undefined))
  if (pems.includes(undefined)) return 'unreadable'
  const pem = pems.join('')
  if (pem.length > MAX_CHARACTERS) return 'unreadable'
  return pem === '' ? undefined : pem
}

function pemOf(text: string): string | undefined {
  const base64 = text.replaceAll(/-----(BEGIN|END) CERTIFICATE-----|\s/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined
  const lines = base64.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
