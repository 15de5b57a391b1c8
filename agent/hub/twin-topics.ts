/** Every message about the twin arrives under this prefix. */
export const TWIN_PREFIX = '$iothub/twin/'

/** What a device subscribes to for its twin: answers, and changes of the desired part. */
export const TWIN_FILTERS = ['$iothub/twin/res/#', '$iothub/twin/PATCH/properties/desired/#'] as const

/** What a twin topic says. */
export type TwinTopic =
  | { readonly about: 'answer'; readonly status: number; readonly rid: string; readonly version: number | undefined }
  | { readonly about: 'desired' }

export function getTwinTopic(rid: string): string {
  return `$iothub/twin/GET/?$rid=${rid}`
}

export function patchReportedTopic(rid: string): string {
  return `$iothub/twin/PATCH/properties/reported/?$rid=${rid}`
}

/** Reads a topic under `TWIN_PREFIX`; undefined when it is none that the hub documents. */
export function parseTwinTopic(topic: string): TwinTopic | undefined {
  if (topic.startsWith('$iothub/twin/PATCH/properties/desired/')) return { about: 'desired' }
  const match = /^\$iothub\/twin\/res\/(\d{3})\/\?(.+)$/.exec(topic)
  if (match === null) return undefined
  const query = new URLSearchParams(match[2])
  const rid = query.get('$rid')
  if (rid === null || rid === '') return undefined
  const version = Number(query.get('$version') ?? Number.NaN)
  return {
    about: 'answer',
    status: Number(match[1]),
    rid,
    version: Number.isSafeInteger(version) ? version : undefined,
  }
}
