/** The `code` that Node puts on system errors (`ENOENT`, `ECONNREFUSED`), if there is one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
