/** One element of DER: its tag byte and the bytes of its content. */
export interface DerElement {
  readonly tag: number
  readonly content: Uint8Array
}

/** Tag bytes of the types that a certificate is made of. */
export const derTags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  /** `[3] EXPLICIT`, where a certificate keeps its extensions. */
  explicit3: 0xa3,
} as const

/**
 * The elements in `bytes`, one after another.
 *
 * @throws RangeError for a length that is indefinite, longer than four bytes, or beyond the end
 */
export function readDer(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = []
  for (let at = 0; at < bytes.length;) {
    const { start, end } = contentBounds(bytes, at)
    elements.push({ tag: byteAt(bytes, at), content: bytes.subarray(start, end) })
    at = end
  }
  return elements
}

/**
 * The elements inside a constructed element, which must have this tag.
 *
 * @throws RangeError when it is another element or none
 */
export function readInside(element: DerElement | undefined, tag: number): readonly DerElement[] {
  if (element?.tag !== tag) throw new RangeError(`expected DER tag ${tag}, found ${element?.tag ?? 'nothing'}`)
  return readDer(element.content)
}

/** X.690 section 8.1.3, definite form only; multi-byte tags do not occur in certificates. */
function contentBounds(bytes: Uint8Array, at: number): { readonly start: number; readonly end: number } {
  const first = byteAt(bytes, at + 1)
  const extra = first < 0x80 ? 0 : first & 0x7f
  if (first === 0x80 || extra > 4) throw new RangeError('DER length is indefinite or too long')
  let length = extra === 0 ? first : 0
  for (let index = 0; index < extra; index += 1) length = length * 256 + byteAt(bytes, at + 2 + index)
  const start = at + 2 + extra
  if (start + length > bytes.length) throw new RangeError('DER element is longer than what holds it')
  return { start, end: start + length }
}

function byteAt(bytes: Uint8Array, index: number): number {
  const byte = bytes[index]
  if (byte === undefined) throw new RangeError('DER ends early')
  return byte
}
