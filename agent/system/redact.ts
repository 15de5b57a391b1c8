const HIDDEN = '***'

/** Names of fields whose value is a secret, whatever it looks like. */
const SECRET_FIELDS = 'password|passphrase|secret|symmetricKey|primaryKey|secondaryKey|keyPem|privateKey|key|pin'

/** What a secret looks like in running text; each pattern keeps what says which secret it was. */
const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(-----END \1-----|$)/gs, `-----BEGIN $1----- ${HIDDEN}`],
  [/(SharedAccessKey=)[^;"\s\\]+/gi, `$1${HIDDEN}`],
  [/(SharedAccessSignature\s+)[^"\s\\]+/gi, `$1${HIDDEN}`],
  [/([?&\s]sig=)[^&"\s\\]+/gi, `$1${HIDDEN}`],
  // A field of the line itself.
  [new RegExp(`("(?:${SECRET_FIELDS})"\\s*:\\s*)"(?:\\\\.|[^"\\\\])*"`, 'gi'), `$1"${HIDDEN}"`],
  // JSON inside a text of the line: its quotes are escaped once.
  [new RegExp(`(\\\\"(?:${SECRET_FIELDS})\\\\"\\s*:\\s*)\\\\".*?(?<!\\\\\\\\)\\\\"`, 'gis'), `$1\\"${HIDDEN}\\"`],
]

/** The text without private keys, SAS tokens, shared keys and the values of fields that carry such. */
export function redact(text: string): string {
  return patterns.reduce((kept, [pattern, replacement]) => kept.replace(pattern, replacement), text)
}
