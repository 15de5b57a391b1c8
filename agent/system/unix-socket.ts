import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import type { Server } from 'node:net'
import { dirname } from 'node:path'
import { Failure } from '../failure.ts'
import { claim, privateName } from './claim.ts'
import type { SocketPlace } from './claim.ts'
import { errorCode } from './error-code.ts'

export type { SocketPlace } from './claim.ts'

/** Owner and group may connect; nobody else. */
const SOCKET_MODE = 0o660

/** Mode of a folder that is made for a socket. */
const FOLDER_MODE = 0o750

/**
 * Has a server listen on a Unix socket, which one process at a time can have; one that a crash left behind is taken over.
 * What comes back removes the name again, and closes nothing. When it throws, nobody listens.
 *
 * @throws Failure AGENT_ALREADY_RUNNING an agent listens there
 * @throws Failure `unavailable`         the socket cannot be made
 */
export async function listenOn(server: Server, place: SocketPlace): Promise<AsyncDisposable> {
  const { path, unavailable } = place
  try {
    const inode = await bind(server, place)
    return { [Symbol.asyncDispose]: () => unlinkIfOurs(path, inode) }
  } catch (cause) {
    await stopListening(server)
    if (cause instanceof Failure) throw cause
    throw new Failure(unavailable, `cannot listen on ${path}: ${errorCode(cause) ?? String(cause)}`, { cause })
  }
}

/** Resolves when the server has let go of its socket and its last connection has ended. */
export async function stopListening(server: Server): Promise<void> {
  if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
}

/** Listens under a private name first, so that the socket has its mode before anybody can find it. */
async function bind(server: Server, place: SocketPlace): Promise<bigint> {
  const own = privateName(place.path)
  await mkdir(dirname(place.path), { recursive: true, mode: FOLDER_MODE })
  await listen(server, own)
  try {
    await chmod(own, SOCKET_MODE)
    const { ino } = await lstat(own, { bigint: true })
    await claim(own, place)
    return ino
  } finally {
    await rm(own, { force: true })
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** A path that another agent has taken over meanwhile stays. */
async function unlinkIfOurs(path: string, inode: bigint): Promise<void> {
  try {
    const { ino } = await lstat(path, { bigint: true })
    if (ino === inode) await rm(path, { force: true })
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
  }
}
