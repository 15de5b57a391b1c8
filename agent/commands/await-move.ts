import { askStatus } from '../control/status.ts'
import type { AuthState } from '../credential/auth-view.ts'
import type { Lane } from '../credential/credential-ref.ts'
import type { Attempt } from '../credential/memory.ts'
import { entryOf, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

/** Where the device stands, as far as somebody who waits for a move needs to know. */
export interface Progress {
  readonly state: AuthState
  readonly mode: Lane
  /** What came of the last move. */
  readonly last: Attempt | undefined
}

export interface AwaitOptions {
  readonly socket: string
  readonly clock: Clock
  readonly wanted: Lane
  /** As it was before the order was given. */
  readonly before: Progress
}

const POLL_MS = 500

/** A certificate may be awaited for days; a person at a shell is not. */
const AWAIT_WITHIN_MS = 600_000

/** What a person reads when a phase begins. */
const phases: Readonly<Record<Exclude<AuthState, 'active'>, string>> = {
  newborn: 'the device has no credential yet',
  preparing: 'getting the new credential ready; nothing that works is touched',
  awaitingCertificate: 'waiting for the certificate; iot-device-agent csr prints the request',
  registering: 'registering the new credential with DPS',
  proving: 'connecting with the new credential, which has to prove itself',
  committing: 'the new credential has proved itself; writing that down',
  rollingBack: 'going back to the credential that worked before',
}

/** @throws Failure as `askControl` does */
export async function askProgress(socket: string, clock: Clock): Promise<Progress> {
  const { auth } = await askStatus({ path: socket, clock })
  return { state: auth.state, mode: auth.mode, last: auth.history?.at(-1) }
}

/**
 * Follows a move that was accepted until its end and prints each phase once.
 *
 * @returns exit code: 0 the wanted way is in use, 1 it is not, with code and reason on stderr
 * @throws Failure AUTH_WAIT_OVER  it takes longer than ten minutes
 * @throws Failure as `askControl` does
 */
export async function awaitMove(io: Output, { socket, clock, wanted, before }: AwaitOptions): Promise<number> {
  const untilMs = clock.monotonicMs() + AWAIT_WITHIN_MS
  for (let shown: AuthState = 'active'; ; await clock.wait(POLL_MS)) {
    const progress = await askProgress(socket, clock)
    const { state, mode } = progress
    if (state === 'active' && (mode === wanted || isNew(progress, before))) return tellEnd(io, progress, wanted)
    if (state !== shown && state !== 'active') io.stdout(`${state}: ${phases[state]}\n`)
    shown = state
    if (clock.monotonicMs() < untilMs) continue
    throw new Failure('AUTH_WAIT_OVER', `it is not over after ${AWAIT_WITHIN_MS / 60_000} minutes (${state})`)
  }
}

/** One attempt differs from the next at least in its instant. */
function isNew({ last }: Progress, before: Progress): boolean {
  return JSON.stringify(last) !== JSON.stringify(before.last)
}

function tellEnd(io: Output, { mode, last }: Progress, wanted: Lane): number {
  if (mode === wanted) {
    io.stdout(`active: the device is on ${mode}\n`)
    return exitCodes.fine
  }
  const { result = 'active', code = result, reason = `the device is on ${mode}` } = last ?? {}
  io.stderr(`${code}: ${reason}\n  ${entryOf(code)?.advice ?? ''}\n`)
  return exitCodes.failed
}
