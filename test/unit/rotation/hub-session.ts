import { nameOf } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { LinkEvents } from '../../../agent/credential/rotation-ports.ts'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import type { Supervised } from '../../../agent/hub/supervise.ts'
import type { Bell } from '../../../agent/telemetry/bell.ts'
import { serve } from './cloud.ts'
import type { Machine } from './machine.ts'

/** One connection to a hub. */
export interface HubSession extends Supervised {
  readonly ref: CredentialRef
  readonly hub: string
  readonly over: boolean
  readonly twinRead: boolean
  /** What was acknowledged on it. */
  readonly acknowledged: number
  end(code: FailureCode, why: string): void
}

export interface Attended {
  readonly machine: Machine
  readonly events: LinkEvents
  /** Rings when something is to be sent at once. */
  readonly outgoing: Bell
  /** The twin was read, or has changed. */
  readonly onTwin: () => void
}

export type AttendedSession = HubSession & { attend(attended: Attended, signal: AbortSignal): Promise<void> }

/** One sample in so many milliseconds. */
const SAMPLE_MS = 15 * 60_000
const TWIN_RETRY_MS = 60_000
const ANSWER_WITHIN_MS = 30_000
const REQUEST_MS = 50

export function createSession(machine: Machine, ref: CredentialRef, hub: string): AttendedSession {
  const ended = Promise.withResolvers<Failure>()
  const name = nameOf(ref)
  let over = false
  let twinRead = false
  let acknowledged = 0

  /** One request and its answer; false when none has come in time. */
  const ask = async (what: string, signal: AbortSignal): Promise<boolean> => {
    machine.point(`${what} with ${name}: sent`)
    await machine.clock.wait(REQUEST_MS, signal)
    const reply = serve(machine.world().cloud, name, machine.trueMs())
    await machine.clock.wait(reply?.afterMs ?? ANSWER_WITHIN_MS, signal)
    machine.note(`hub: ${what} with ${name}: ${reply === undefined ? 'no answer' : 'done'}`)
    machine.point(`${what} with ${name}: answered`)
    return reply !== undefined
  }

  const prove = () => {
    const { tally } = machine.world()
    if (!twinRead || acknowledged === 0 || tally.proven.includes(name)) return
    machine.change({ tally: { ...tally, proven: [...tally.proven, name] } })
  }

  const followTwin = async ({ events, onTwin }: Attended, signal: AbortSignal) => {
    while (!(await ask('a twin read', signal))) await machine.clock.wait(TWIN_RETRY_MS, signal)
    twinRead = true
    prove()
    events.twinRead()
    onTwin()
  }

  const forward = async ({ events, outgoing }: Attended, signal: AbortSignal) => {
    for (;;) {
      if (await ask('a message', signal)) {
        acknowledged += 1
        prove()
        events.acknowledged()
      }
      await nextSample(outgoing, machine, signal)
    }
  }

  return {
    ref,
    hub,
    ended: ended.promise,
    get over() {
      return over
    },
    get twinRead() {
      return twinRead && !over
    },
    get acknowledged() {
      return acknowledged
    },
    end(code, why) {
      if (over) return
      over = true
      machine.note(`hub: the session with ${name} ends: ${why}`)
      ended.resolve(new Failure(code, why))
    },
    async attend(attended, signal) {
      attended.events.connected(ref)
      await Promise.all([followTwin(attended, signal), forward(attended, signal)])
    },
    async [Symbol.asyncDispose]() {
      if (!over) machine.note(`the device closes its session with ${name}`)
      over = true
      ended.resolve(new Failure('SESSION_CLOSED', 'closed'))
    },
  }
}

/** Resolves when the next sample is due, or earlier when something is to be sent at once. */
async function nextSample(outgoing: Bell, { clock }: Machine, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const waits = [outgoing.next(until), clock.wait(SAMPLE_MS, until)]
  try {
    await Promise.race(waits)
  } finally {
    over.abort()
    await Promise.allSettled(waits)
  }
}
