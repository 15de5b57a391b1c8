/** A local program at telemetry.sock, as cheap as can be: it shares the machine with what is measured. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'

export interface Answer {
  readonly status: number
  readonly body: string
}

/** One connection, kept; one request at a time. */
export interface Door extends Disposable {
  /** Rejects when the other end goes before it has answered. */
  post(query: string, body: string): Promise<Answer>
  health(): Promise<Answer>
}

export async function openDoor(socketPath: string): Promise<Door> {
  const socket = connect(socketPath)
  await once(socket, 'connect')
  socket.setEncoding('latin1')
  let heard = ''
  let asked: PromiseWithResolvers<Answer> | undefined
  socket.on('data', (text: string) => {
    heard += text
    const answer = readAnswer(heard)
    if (answer === undefined) return
    heard = ''
    asked?.resolve(answer)
  })
  const gone = (error?: Error) => asked?.reject(error ?? new Error('the agent closed the connection'))
  socket.on('error', gone)
  socket.on('close', () => gone())
  const ask = (head: string, body: string) => {
    asked = Promise.withResolvers<Answer>()
    if (socket.destroyed) gone()
    else socket.write(`${head} HTTP/1.1\r\nHost: agent\r\n${body}`)
    return asked.promise
  }
  return {
    post: (query, body) =>
      ask(
        `POST /telemetry?${query}`,
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      ),
    health: () => ask('GET /health', '\r\n'),
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** Hands in samples as lines of one request, until `next` has no more of them. @returns how many were stored */
export async function pourLines(socketPath: string, query: string, next: () => string | undefined): Promise<number> {
  const asked = request({
    ...{ socketPath, method: 'POST', path: `/telemetry?${query}` },
    headers: { 'Content-Type': 'application/x-ndjson' },
  })
  const said = Promise.withResolvers<string>()
  asked.on('error', said.reject)
  asked.on('response', (answer) => {
    // Only the last line counts.
    let tail = ''
    answer.setEncoding('utf8')
    answer.on('data', (text: string) => (tail = (tail + text).slice(-2000)))
    answer.on('error', said.reject)
    answer.on('end', () => said.resolve(tail))
  })
  let isAnswered = false
  const answered = said.promise.finally(() => (isAnswered = true))
  for (let chunk = next(); chunk !== undefined && !isAnswered; chunk = next()) {
    if (asked.write(chunk)) continue
    const over = new AbortController()
    await Promise.race([once(asked, 'drain', { signal: over.signal }), answered])
    over.abort()
  }
  asked.end()
  const last = (await answered).trim().split('\n').at(-1) ?? ''
  const { stored, error } = JSON.parse(last) as { readonly stored: number; readonly error?: object }
  if (error !== undefined) throw new Error(`the agent refused: ${last}`)
  return stored
}

/** Undefined while there is more to come. */
function readAnswer(text: string): Answer | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const length = Number(/^content-length: (\d+)/im.exec(text)?.[1])
  if (text.length < end + 4 + length) return undefined
  return { status: Number(text.slice(9, 12)), body: text.slice(end + 4) }
}
