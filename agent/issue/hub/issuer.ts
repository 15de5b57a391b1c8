import { asFailure, Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { backoffMs } from '../../system/backoff.ts'
import { createInbox } from '../../system/inbox.ts'
import type { IssueRequest } from '../../pki/exchange.ts'
import { createPostponed } from '../postponed.ts'
import type { Issuer } from '../port.ts'
import { readAnswer } from './answer.ts'
import { afterFailure, afterSilence, decide, MAX_TRIES } from './decide.ts'
import type { Asked, Next } from './decide.ts'
import type { CredentialAnswer, CredentialLine } from './line.ts'
import type { RequestNote } from './note.ts'

export interface HubIssuerOptions {
  /** The session that lives, or the next one. @throws signal.reason when aborted */
  readonly line: (signal: AbortSignal) => Promise<CredentialLine>
  readonly note: RequestNote
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told of each try that gave nothing, while trying goes on. */
  readonly warn: (failure: Failure) => void
}

/** Longest wait for the first answer. Source: azure-protocols, 3.3: 120 to 180 s in the SDKs. */
const ANSWER_MS = 180_000

/** After a lost session the next one is not there at once. */
const LOST_MS = 1_000

/** Sessions that end instead of an answer. */
const DROPPED = { baseMs: LOST_MS, capMs: 300_000 }

/** A chain whose dates do not fit is left alone for so long; after one that is no good, the next is asked for ever later. */
const PAUSE_MS = 60_000
const REFUSED = { baseMs: PAUSE_MS, capMs: 1_800_000 }

/**
 * The issuer that is the hub itself (`issueCertificate`, a preview): over the live session, one operation at a time, under
 * one request ID until that ends. A lost session is no failure: the same request goes to the next one.
 *
 * `issue` throws Failure HUB_CSR_REFUSED when the hub refuses the request for what it is, and HUB_ISSUES_NOTHING when it
 * does not issue, or not after a number of tries: then DPS can be asked.
 */
export function createHubIssuer(options: HubIssuerOptions): Issuer {
  const { clock, note, random, warn } = options
  let failed = 0
  let notBeforeMs = 0
  let given = ''
  const postponed = createPostponed()

  const pause = (ms: number) => (notBeforeMs = clock.monotonicMs() + ms)

  return {
    name: 'hub-credentials',
    async issue(request, signal) {
      let replace: string | undefined
      for (;;) {
        await clock.wait(Math.max(0, notBeforeMs - clock.monotonicMs()), signal)
        const before = postponed.take()
        if (before !== undefined) return (given = before)
        if (failed >= MAX_TRIES) {
          failed = 0
          await note.forget()
          throw new Failure('HUB_ISSUES_NOTHING', `${MAX_TRIES} tries came to nothing`)
        }
        const asked = { rid: await note.ridFor(request.csrPem), failed, nowMs: clock.now(), random }
        const next = await attempt(request, asked, replace, options, signal)
        if (next === 'lost') {
          pause(LOST_MS)
          continue
        }
        if (next === 'dropped') {
          pause(Math.max(LOST_MS, backoffMs(failed, DROPPED, random)))
          failed += 1
          continue
        }
        if (next.do === 'take') return (given = next.pem)
        if (next.do === 'giveUp') {
          await note.forget()
          throw next.failure
        }
        warn(next.failure)
        failed += 1
        replace = next.replace
        if (next.anew === true) await note.forget()
        pause(next.afterMs)
      }
    },
    async received(_, { outcome }) {
      pause(PAUSE_MS)
      if (outcome === 'postponed' && postponed.keep(given)) return
      postponed.forget()
      if (outcome === 'accepted') failed = 0
      else {
        pause(Math.max(PAUSE_MS, backoffMs(failed, REFUSED, random)))
        failed += 1
      }
      await note.forget().catch((error: unknown) => warn(asFailure(error)))
    },
  }
}

/**
 * One try on one session, from the subscription to whatever ends it. `lost` when that is the end of the session, and
 * `dropped` when that came in the place of the first answer: a hub may say no in this way.
 */
async function attempt(
  { csrPem }: IssueRequest,
  asked: Asked,
  replace: string | undefined,
  { line, clock }: HubIssuerOptions,
  signal: AbortSignal,
): Promise<Exclude<Next, { do: 'listen' }> | 'lost' | 'dropped'> {
  const session = await line(signal)
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const answers = createInbox<CredentialAnswer>()
  const ended = session.ended.then(() => 'lost' as const)
  try {
    const handIn = await session.openCredentials((answer) => answers.put(answer))
    const csr = csrPem.replaceAll(/-----[^-]+-----|\s/g, '')
    await handIn(asked.rid, JSON.stringify({ id: session.deviceId, csr, ...(replace !== undefined && { replace }) }))
    let wasAccepted = false
    for (let untilMs = clock.now() + ANSWER_MS; ;) {
      const late = clock.wait(Math.max(0, untilMs - clock.now()), until).then(() => 'late' as const)
      const answer = await Promise.race([answers.take(until), late, ended])
      if (answer === 'lost') return wasAccepted ? 'lost' : 'dropped'
      if (answer === 'late') return settled(afterSilence(wasAccepted, { ...asked, nowMs: clock.now() }))
      // Of an operation that was given up, on this session or an earlier one.
      if (answer.rid !== asked.rid) continue
      const next = decide(readAnswer(answer), { ...asked, nowMs: clock.now() })
      if (next.do !== 'listen') return next
      wasAccepted = true
      untilMs = next.untilMs
    }
  } catch (error) {
    signal.throwIfAborted()
    const failure = asFailure(error)
    if (failure.code === 'HUB_REFUSED_TOPIC') return { do: 'giveUp', failure: unable(failure) }
    // The end of a session is told a moment after what failed of it; one that lives on is a try that came to nothing.
    const isLost = (await Promise.race([ended, clock.wait(LOST_MS, signal)])) === 'lost'
    return isLost ? 'lost' : settled(afterFailure(failure, asked))
  } finally {
    over.abort(new Error('the try is over'))
  }
}

function settled(next: Next): Exclude<Next, { do: 'listen' }> {
  if (next.do === 'listen') throw new Failure('UNEXPECTED', 'silence is nothing to listen to')
  return next
}

/** An older version of the service, or another tier, has no such topic. */
function unable(cause: Failure): Failure {
  return new Failure('HUB_ISSUES_NOTHING', cause.message, { cause })
}
