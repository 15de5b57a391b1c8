/** Every call of a direct method arrives under this prefix. */
export const METHOD_PREFIX = '$iothub/methods/POST/'

/** What a device subscribes to for its direct methods. */
export const METHOD_FILTER = '$iothub/methods/POST/#'

/** What the topic of a call says. */
export interface MethodTopic {
  /** Undefined when it cannot be read. */
  readonly name: string | undefined
  /** As the hub wrote it, for the answer. */
  readonly rid: string
}

/** Longer than any name that a caller has reason to use, in characters. */
const MAX_NAME = 128

/**
 * Reads a topic under `METHOD_PREFIX`; undefined when it is none that could be answered. A request ID with a wildcard in
 * it cannot be: it would make the topic of the answer one that nobody may publish to.
 */
export function parseMethodTopic(topic: string): MethodTopic | undefined {
  const [, encoded, query] = /^\$iothub\/methods\/POST\/([^/]*)\/\?(.+)$/.exec(topic) ?? []
  const rid = query
    ?.split('&')
    .find((part) => part.startsWith('$rid='))
    ?.slice('$rid='.length)
  if (encoded === undefined || rid === undefined || !/^[!-~]{1,128}$/.test(rid) || /[+#]/.test(rid)) return undefined
  return { name: nameOf(encoded), rid }
}

export function methodAnswerTopic(status: number, rid: string): string {
  return `$iothub/methods/res/${status}/?$rid=${rid}`
}

function nameOf(encoded: string): string | undefined {
  try {
    const name = decodeURIComponent(encoded)
    return name === '' || name.length > MAX_NAME ? undefined : name
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}
