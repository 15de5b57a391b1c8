/** What is in the body of a D2C message, which is bytes to the hub. */
import { gunzipSync } from 'node:zlib'

import type { Telemetry } from './model.ts'

/** Larger than any message can be: what grows beyond this is no message of ours. */
const MAX_UNPACKED_BYTES = 64 * 1024 * 1024

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The bytes as they were before the content encoding `gzip`. */
export function bytesOf({ body, system }: Telemetry): Buffer {
  return system['content-encoding'] === 'gzip' ? gunzipSync(body, { maxOutputLength: MAX_UNPACKED_BYTES }) : body
}

/** @throws TypeError when it is no UTF-8 */
export function textOf(message: Telemetry): string {
  return utf8.decode(bytesOf(message))
}

/** @throws TypeError, SyntaxError when it is no JSON */
export function jsonOf(message: Telemetry): unknown {
  return JSON.parse(textOf(message)) as unknown
}

/** For people and for JSON: text where it is text, else base64. */
export function shownOf(message: Telemetry): { readonly body: string } | { readonly bodyBase64: string } {
  try {
    return { body: textOf(message) }
  } catch {
    return { bodyBase64: message.body.toString('base64') }
  }
}
