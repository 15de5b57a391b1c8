import { ServiceError } from '../model.ts'

/**
 * The condition of If-Match: absent and `*` always hold. Clients send the etag with or without quotes.
 *
 * @throws ServiceError 412001 when the resource has another etag
 */
export function assertEtag(ifMatch: string | undefined, etag: string): void {
  if (ifMatch === undefined) return
  const wanted = unquote(ifMatch)
  if (wanted !== '*' && wanted !== unquote(etag))
    throw new ServiceError(412001, 'Precondition failed: the etag is not the one of the resource.')
}

function unquote(text: string): string {
  return text.replace(/^(?:W\/)?"(.*)"$/, '$1')
}
