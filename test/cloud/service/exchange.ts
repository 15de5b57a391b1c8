/** One REST call: what was asked, and the forms in which Azure answers. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { errorBody } from '../dps/wording.ts'
import { ServiceError } from '../model.ts'

/** A request after its body was read. */
export interface Call {
  readonly method: string
  /** Decoded segments of the path, as `['devices', 'edge-0042']`. */
  readonly path: readonly string[]
  readonly query: URLSearchParams
  header(name: string): string | undefined
  /**
   * Undefined for an empty body.
   *
   * @throws ServiceError 400012 for a body that is not JSON
   */
  json(): unknown
}

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON; nothing at all when undefined. */
  readonly body?: unknown
}

export type Route = (call: Call) => Reply | Promise<Reply>

/** Largest body of a request in bytes; more is refused with 413. */
const MAX_BODY_BYTES = 256 * 1024
/** A client that goes on sending after a refusal is cut off here. */
const MAX_DRAINED_BYTES = 8 * 1024 * 1024

/** @throws ServiceError 413001 when the body is too large, 400004 for a broken path */
export async function readCall(request: IncomingMessage): Promise<Call> {
  const url = URL.parse(`https://service${request.url ?? '/'}`)
  if (url?.host !== 'service') throw new ServiceError(400004, 'The path cannot be read.')
  const bytes = await readBody(request)
  return {
    method: request.method ?? 'GET',
    path: segmentsOf(url.pathname),
    query: url.searchParams,
    header: (name) => {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(',') : value
    },
    json: () => (bytes.length === 0 ? undefined : parseJson(bytes)),
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length <= MAX_BODY_BYTES) chunks.push(chunk)
    else if (length > MAX_DRAINED_BYTES) break
  }
  if (length > MAX_BODY_BYTES) throw new ServiceError(413001, `The body is larger than ${MAX_BODY_BYTES} bytes.`)
  return Buffer.concat(chunks)
}

function segmentsOf(pathname: string): string[] {
  try {
    return pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map((segment) => decodeURIComponent(segment))
  } catch (cause) {
    if (!(cause instanceof URIError)) throw cause
    throw new ServiceError(400004, 'The path has a broken percent sign.')
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof TypeError)) throw cause
    throw new ServiceError(400012, 'Body deserialization failed: the body is not JSON.')
  }
}

/** Names that IoT Hub gives to its error codes; what is missing takes the name of its status. */
const hubErrorNames = new Map([
  [400004, 'ArgumentInvalid'],
  [400012, 'ArgumentInvalid'],
  [401002, 'IotHubUnauthorizedAccess'],
  [404001, 'DeviceNotFound'],
  [404103, 'DeviceNotOnline'],
  [409001, 'DeviceAlreadyExists'],
  [412001, 'PreconditionFailed'],
  [413001, 'MessageTooLarge'],
  [504101, 'GatewayTimeout'],
])

/** IoT Hub's refusal. Calls to a device carry the error as JSON inside of `Message`, the registry as `name;text`. */
export function hubRefusal(error: ServiceError, nowMs: number): Reply {
  const name = hubErrorNames.get(error.code) ?? `Error${error.status}`
  const trackingId = randomUUID().replaceAll('-', '')
  const inner = errorBody(error.code, error.message, nowMs)
  const isCallToDevice = error.code === 404103 || error.code === 504101
  const body = {
    Message: isCallToDevice ? JSON.stringify(inner) : `ErrorCode:${name};${error.message.replaceAll(';', ',')}`,
    ExceptionMessage: `Tracking ID:${trackingId}-G:0-TimeStamp:${new Date(nowMs).toISOString()}`,
  }
  return { status: error.status, headers: { 'iothub-errorcode': name }, body }
}

/** DPS's refusal. */
export function dpsRefusal(error: ServiceError, nowMs: number): Reply {
  return {
    status: error.status,
    headers: { 'x-ms-error-code': String(error.code) },
    body: errorBody(error.code, error.message, nowMs),
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @throws ServiceError 400004 when it is no object */
export function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (isObject(value)) return value
  throw new ServiceError(400004, `${what} must be a JSON object.`)
}
