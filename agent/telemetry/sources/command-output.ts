import { isObject, parseJson } from '../../system/json.ts'
import type { Json } from '../../system/json.ts'

/** The bodies of the samples that a program has printed, or what is wrong with its output, fit to follow a name. */
export type ReadOutput =
  | { readonly ok: true; readonly bodies: readonly string[] }
  | { readonly ok: false; readonly problem: string }

export interface OutputLimits {
  readonly maxSamples: number
  /** Of one body. */
  readonly maxSampleBytes: number
}

/**
 * An object is one sample, an array of objects or one object a line are several, nothing is none. An object keeps the
 * digits of its numbers as they were printed, except within an array. What the text says is in no problem: it may be
 * about anything.
 */
export function readOutput(output: Uint8Array, limits: OutputLimits): ReadOutput {
  const text = decode(output)?.trim()
  if (text === undefined) return { ok: false, problem: 'printed something that is not UTF-8' }
  const read = text === '' ? { ok: true as const, bodies: [] } : bodiesOf(text)
  return read.ok ? withinLimits(read.bodies, limits) : read
}

function bodiesOf(text: string): ReadOutput {
  const whole = parseJson(text)
  if (whole === undefined) return linesOf(text)
  if (isObject(whole)) return { ok: true, bodies: [text] }
  if (!Array.isArray(whole)) return { ok: false, problem: 'printed JSON that is neither an object nor an array' }
  const items = whole as readonly Json[]
  const at = items.findIndex((item) => !isObject(item))
  if (at >= 0) return { ok: false, problem: `printed an array whose item ${at + 1} is no object` }
  return { ok: true, bodies: items.map((item) => JSON.stringify(item)) }
}

function linesOf(text: string): ReadOutput {
  const lines = text.split('\n').map((line) => line.trim())
  const at = lines.findIndex((line) => line !== '' && !isObject(parseJson(line)))
  if (at >= 0) {
    const where = lines.length === 1 ? '' : ` in line ${at + 1}`
    return { ok: false, problem: `printed something that is no JSON object${where}` }
  }
  return { ok: true, bodies: lines.filter((line) => line !== '') }
}

function withinLimits(bodies: readonly string[], { maxSamples, maxSampleBytes }: OutputLimits): ReadOutput {
  if (bodies.length > maxSamples) {
    return { ok: false, problem: `printed ${bodies.length} samples, at most ${maxSamples} are taken` }
  }
  const largest = bodies.reduce((most, body) => Math.max(most, Buffer.byteLength(body)), 0)
  if (largest <= maxSampleBytes) return { ok: true, bodies }
  return { ok: false, problem: `printed a sample of ${largest} bytes, at most ${maxSampleBytes} are taken` }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}
