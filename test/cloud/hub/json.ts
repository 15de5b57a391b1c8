/** Bytes as JSON; undefined when they are none. */
export function parseJson(bytes: Buffer): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(bytes.toString('utf8')) as unknown }
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined
    throw cause
  }
}
