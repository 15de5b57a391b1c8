import { createHash, randomBytes } from 'node:crypto'
import { link, lstat, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server } from 'node:net'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import type { Clock } from './clock.ts'
import { errorCode } from './error-code.ts'

/** Where a socket is to be. */
export interface SocketPlace {
  /** Its folder is made when it is missing. */
  readonly path: string
  readonly clock: Clock
  /** What it is called when the socket cannot be made. */
  readonly unavailable: FailureCode
}

/** Each attempt that fails has met another agent that starts or stops at this very moment. */
const ATTEMPTS = 10

/** Others hold the turn for a few milliseconds. One who does not give it back does not keep an agent from starting. */
const TURN_ATTEMPTS = 50
const TURN_PAUSE_MS = 20

/** A name for a socket that nobody knows yet; no longer than any of ours, since a socket's path may have 107 bytes. */
export function privateName(path: string): string {
  return join(dirname(path), `.c-${randomBytes(4).toString('hex')}`)
}

/**
 * Gives the listening socket `own` the name `path`, which one agent at a time can have: link(2) fails when the name
 * exists. A name that a crashed agent left behind is taken over.
 *
 * @throws Failure AGENT_ALREADY_RUNNING an agent listens there
 * @throws Failure `unavailable`          something else is there
 */
export async function claim(own: string, place: SocketPlace): Promise<void> {
  const { path, unavailable } = place
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (await linked(own, path)) return
    await removeStale(place)
  }
  throw new Failure(unavailable, `${path} is put there again and again by somebody else`)
}

async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path)
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Only who has the turn removes a name, so that between the look and the removal it cannot become a live one. */
async function removeStale({ path, clock, unavailable }: SocketPlace): Promise<void> {
  await using _ = await takeTurn(path, clock)
  const kind = await lstat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (kind === undefined) return
  if (!kind.isSocket()) throw new Failure(unavailable, `${path} is there and is no socket`)
  if (await isLive(path)) throw new Failure('AGENT_ALREADY_RUNNING', `an agent listens on ${path}`)
  await rm(path, { force: true })
}

/**
 * A turn that the kernel takes back when its holder dies: a socket in the abstract namespace (unix(7)), which has a name
 * but no file. Anybody on the machine can hold it, so that it orders the starts of agents and secures nothing.
 */
async function takeTurn(path: string, clock: Clock): Promise<AsyncDisposable> {
  const name = `\0iot-device-agent-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`
  const turn = createServer()
  for (let attempt = 0; attempt < TURN_ATTEMPTS; attempt += 1) {
    if (await listens(turn, name)) break
    await clock.wait(TURN_PAUSE_MS)
  }
  return {
    async [Symbol.asyncDispose]() {
      if (turn.listening) await new Promise<void>((resolve) => turn.close(() => resolve()))
    },
  }
}

function listens(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error) => (errorCode(error) === 'EADDRINUSE' ? resolve(false) : reject(error))
    server.once('error', refuse)
    server.listen(name, () => {
      server.off('error', refuse)
      resolve(true)
    })
  })
}

/** Whether somebody listens: the kernel itself answers, whatever the listener does. EAGAIN is a full queue of clients. */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (error) => {
      const code = errorCode(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false)
      else if (code === 'EAGAIN') resolve(true)
      else reject(error)
    })
  })
}
