/** What makes room last: samples of the lowest priority that is present are given up first. */
export type Priority = 'telemetry' | 'alarm' | 'audit'

/** From the first to be given up to the last. */
export const priorities: readonly Priority[] = ['telemetry', 'alarm', 'audit']

/** What is said about a body beside it. */
export interface Label {
  /** MIME type, as in `application/json`. */
  readonly contentType: string
  /** `utf-8` for text that routing may look into; left out for bytes of any other kind. */
  readonly contentEncoding?: string
  /** Component of the device's DTDL model. */
  readonly component?: string
  /** Application properties, which message routing can ask for. */
  readonly properties?: Readonly<Record<string, string>>
}

/** JSON without anything special to be said: not written to disk. */
export const PLAIN_LABEL: Label = { contentType: 'application/json', contentEncoding: 'utf-8' }

/** When a sample was taken by a clock that could not be believed: enough to correct it once it can. */
export interface UnsureTime {
  /** The boot of the machine, as /proc/sys/kernel/random/boot_id names it. */
  readonly bootId: string
  /** Time since that boot, in milliseconds, stops of the machine included. */
  readonly uptimeMs: number
}

/** What is kept until the cloud has acknowledged it, and sent again under the same ID until then. */
export interface Sample {
  /** Message ID, unique and the same at every attempt, so that a receiver can drop what comes twice. */
  readonly id: string
  /** Order is kept within a stream of one priority. */
  readonly stream: string
  readonly priority: Priority
  /** Wall time at which it was taken, by the clock of the device. */
  readonly createdAtMs: number
  /** Only when that clock was not to be believed. */
  readonly unsure?: UnsureTime
  /** The clock of the device was not to be believed when it came in, though whoever took it says when that was. */
  readonly cameUnsure?: true
  readonly label: Label
  /** Text in UTF-8, or bytes. */
  readonly body: string | Uint8Array
}
