import { asFailure, Failure } from '../failure.ts'
import { isObject, parseJson } from '../system/json.ts'
import type { Json } from '../system/json.ts'

/** One request on the control socket: a line of JSON. */
export interface ControlRequest {
  /** What is wanted: `status`. */
  readonly ask: string
  readonly [key: string]: unknown
}

/** One answer on the control socket: a line of JSON. */
export type ControlAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly advice: string }

/** How long a line may be, and whose fault it is when it is longer. */
export interface LineLimit {
  readonly maxBytes: number
  readonly tooLong: BadLine
}

type BadLine = 'CONTROL_BAD_REQUEST' | 'CONTROL_BAD_ANSWER'

export const requestLimit: LineLimit = { maxBytes: 64 * 1024, tooLong: 'CONTROL_BAD_REQUEST' }

export const answerLimit: LineLimit = { maxBytes: 1024 * 1024, tooLong: 'CONTROL_BAD_ANSWER' }

/**
 * Cuts a stream of bytes into lines; the last one needs no line end.
 *
 * @throws Failure `tooLong` a line has more than `maxBytes`
 */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  { maxBytes, tooLong }: LineLimit,
): AsyncGenerator<string> {
  let parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of chunks) {
    let rest = chunk
    for (let end = rest.indexOf(LINE_END); ; end = rest.indexOf(LINE_END)) {
      const part = end < 0 ? rest : rest.subarray(0, end)
      length += part.length
      if (length > maxBytes) throw new Failure(tooLong, `a line is longer than ${maxBytes} bytes`)
      parts.push(part)
      if (end < 0) break
      yield Buffer.concat(parts).toString('utf8')
      parts = []
      length = 0
      rest = rest.subarray(end + 1)
    }
  }
  if (length > 0) yield Buffer.concat(parts).toString('utf8')
}

const LINE_END = 0x0a

/** @throws Failure CONTROL_BAD_REQUEST not a JSON object with a text `ask` */
export function parseRequest(line: string): ControlRequest {
  const value = parseLine(line, 'CONTROL_BAD_REQUEST')
  if (isObject(value) && typeof value['ask'] === 'string') return { ...value, ask: value['ask'] }
  throw new Failure('CONTROL_BAD_REQUEST', 'a request is a JSON object with a text `ask`')
}

/** @throws Failure CONTROL_BAD_ANSWER not an answer of this protocol */
export function parseAnswer(line: string): ControlAnswer {
  const answer = parseLine(line, 'CONTROL_BAD_ANSWER')
  if (isObject(answer) && answer['ok'] === true) return { ok: true, value: answer['value'] }
  if (isObject(answer) && answer['ok'] === false) {
    const text = (key: string) => (typeof answer[key] === 'string' ? answer[key] : '')
    return { ok: false, code: text('code'), message: text('message'), advice: text('advice') }
  }
  throw new Failure('CONTROL_BAD_ANSWER', 'an answer is a JSON object with `ok`')
}

/** What the other side is told of a failure: no stack, no cause, no context. */
export function refusalOf(error: unknown): ControlAnswer {
  const { code, message, advice } = asFailure(error)
  return { ok: false, code, message, advice }
}

function parseLine(line: string, code: BadLine): Json {
  const value = parseJson(line)
  if (value === undefined) throw new Failure(code, 'the line is not JSON')
  return value
}
