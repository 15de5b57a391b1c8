import { asFailure, Failure } from '../../failure.ts'
import { answer, refuse, statusOf } from './answer.ts'
import type { Refusal } from './answer.ts'
import type { IntakeHealth } from './port.ts'
import { receiveLines } from './receive-lines.ts'
import { noteRefusal, receiveWhole } from './receive.ts'
import type { Arriving } from './receive.ts'
import { readHead } from './request.ts'

/** A request as it comes from the server. */
export type Incoming = Omit<Arriving, 'wanted'>

/** What there is, and by which methods. */
const routes: Readonly<Record<string, readonly string[]>> = { '/telemetry': ['POST'], '/health': ['GET', 'HEAD'] }

const NOT_FOUND = 404
const NOT_ALLOWED = 405
const TIMED_OUT = 408

/** Answers one request; what fails is answered as well. */
export async function serve(incoming: Incoming): Promise<void> {
  const { request, response, door, client } = incoming
  const { clock } = door.options
  client.expect('nothing')
  // Written to after its client has gone: that the client is gone is known from the request.
  response.on('error', () => request.socket.destroy())
  try {
    const [path, query] = splitOnce(request.url ?? '', '?')
    const methods = routes[path]
    if (methods === undefined) await refuseAs(incoming, wrong(`there is no ${path}`), { status: NOT_FOUND })
    else if (!methods.includes(request.method ?? '')) {
      const allow = methods.join(', ')
      await refuseAs(incoming, wrong(`${path} takes ${allow}, not ${request.method}`), { status: NOT_ALLOWED, allow })
    } else if (path === '/health') await answer(incoming, 200, healthOf(door.options.health()), clock)
    else await receive(incoming, query)
  } catch (error) {
    await refuseBecause(incoming, asFailure(error))
  }
}

/** Answers a request for whose connection there is no place. */
export async function turnAway(incoming: Incoming): Promise<void> {
  incoming.response.setHeader('Connection', 'close')
  await refuseBecause(incoming, new Failure('OUTBOX_BUSY', 'too many connections are open'))
}

async function receive(incoming: Incoming, query: string): Promise<void> {
  const { headers } = incoming.request
  const head = readHead({ query, contentType: headers['content-type'], contentEncoding: headers['content-encoding'] })
  if (!head.ok) throw new Failure('TELEMETRY_INVALID', head.problems.join('; '))
  const arriving = { ...incoming, wanted: head.value }
  if (head.value.form !== 'lines') return receiveWhole(arriving)
  const failed = await receiveLines(arriving)
  if (failed !== undefined) await refuseBecause(incoming, failed.failure, failed.line)
}

async function refuseBecause(incoming: Incoming, failure: Failure, line?: number): Promise<void> {
  const { ended } = incoming.client
  const isSlow = failure === ended.reason && failure.kind === 'invalid'
  const status = isSlow ? TIMED_OUT : statusOf(failure)
  await refuseAs(incoming, { failure, stored: 0, ...(line !== undefined && { line }) }, { status })
}

async function refuseAs(
  incoming: Incoming,
  refusal: Refusal,
  how: { readonly status: number; readonly allow?: string },
): Promise<void> {
  const { door } = incoming
  noteRefusal(door, refusal.failure)
  await refuse(incoming, refusal, { clock: door.options.clock, ...how })
}

function healthOf({ trouble, ...health }: IntakeHealth): object {
  if (trouble === undefined) return health
  const { code, message, advice } = trouble
  return { ...health, trouble: { code, message, advice } }
}

function wrong(fact: string): Refusal {
  const known = Object.entries(routes).map(([path, methods]) => `${methods[0]} ${path}`)
  return { failure: new Failure('TELEMETRY_INVALID', `${fact}; known are ${known.join(' and ')}`), stored: 0 }
}

function splitOnce(text: string, at: string): readonly [string, string] {
  const end = text.indexOf(at)
  return end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end + 1)]
}
