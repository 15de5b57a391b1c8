import type { Socket } from 'node:net'
import { Failure } from '../../failure.ts'
import { errorCode } from '../../system/error-code.ts'
import { refusalOf } from './answer.ts'

/**
 * Refuses what is no HTTP, and ends its connection.
 *
 * @param isBusy an answer may be half written: nothing can be said any more
 * @returns undefined when the client has just gone away
 */
export function refuseSyntax(error: unknown, socket: Socket, isBusy: boolean): Failure | undefined {
  const code = errorCode(error) ?? ''
  if (!code.startsWith('HPE_')) {
    socket.destroy()
    return undefined
  }
  const isTooLong = code === 'HPE_HEADER_OVERFLOW' || code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW'
  const failure = isTooLong
    ? new Failure('TELEMETRY_TOO_LARGE', 'the headers or the parameters of the request are too long')
    : new Failure('TELEMETRY_INVALID', `this is no HTTP/1.1 request (${code})`)
  if (isBusy || !socket.writable) {
    socket.destroy()
    return failure
  }
  const text = `${JSON.stringify(refusalOf({ failure, stored: 0 }))}\n`
  const status = isTooLong ? '431 Request Header Fields Too Large' : '400 Bad Request'
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
  socket.destroySoon()
  return failure
}
