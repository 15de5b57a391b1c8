import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { bounded } from '../../system/deadline.ts'

export interface PeerUidOptions {
  readonly clock: Clock
  /** `/usr/bin/perl`, which every Debian has. */
  readonly perl?: string
}

/**
 * Asks the kernel who is at the other end of descriptor 3: getsockopt(SOL_SOCKET, SO_PEERCRED), whose numbers are 1 and
 * 17 on x86 and ARM; it answers with pid, uid and gid. Source: unix(7), socket.h.
 */
const ASK_KERNEL =
  'open(my $s, "+<&=3") or exit 1; my $c = getsockopt($s, 1, 17) or exit 1; my (undef, $u) = unpack("iI", $c); print $u'

/** Children at a time; the others wait, of whom there are no more than connections. */
const AT_A_TIME = 2

const WITHIN_MS = 2000

/**
 * Tells whose process is at the other end of a Unix socket; undefined where it cannot be told. Node has no call for it:
 * a child that inherits the connection asks. It never reads from it, and holds it open for as long as it lives, which
 * is some 10 ms and never more than 2 s.
 */
export function createPeerUid({
  clock,
  perl = '/usr/bin/perl',
}: PeerUidOptions): (socket: Socket) => Promise<number | undefined> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (socket) => {
    if (running >= AT_A_TIME) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await askChild(socket, perl, clock)
    } finally {
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}

async function askChild(socket: Socket, perl: string, clock: Clock): Promise<number | undefined> {
  const descriptor = descriptorOf(socket)
  if (descriptor === undefined) return undefined
  // At 3, not at 0 to 2: what a child gets there is set to blocking, and the connection would be for us as well.
  const child = spawn(perl, ['-e', ASK_KERNEL], { stdio: ['ignore', 'pipe', 'ignore', descriptor], env: {}, cwd: '/' })
  try {
    const failed = new Promise<string>((resolve) => child.once('error', () => resolve('')))
    const said = Promise.race([child.stdout === null ? '' : text(child.stdout), failed])
    const answer = await bounded(said, { clock, withinMs: WITHIN_MS, code: 'UNEXPECTED', what: 'asking for a user' })
    return /^\d+$/.test(answer) ? Number(answer) : undefined
  } catch (error) {
    // Too late is as good as no answer: nobody is let in because of it.
    if (error instanceof Failure) return undefined
    throw error
  } finally {
    child.kill('SIGKILL')
  }
}

/** Of a connection that is open. Handing over the socket itself would stop the reading of it. */
function descriptorOf(socket: Socket): number | undefined {
  if (socket.destroyed || !('_handle' in socket)) return undefined
  const handle = socket._handle
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined
}
