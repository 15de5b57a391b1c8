import { X509Certificate } from 'node:crypto'
import { asFailure, Failure } from '../../failure.ts'
import { backoffMs } from '../../system/backoff.ts'
import type { Clock } from '../../system/clock.ts'
import type { IssueRequest } from '../../pki/exchange.ts'
import { createPostponed } from '../postponed.ts'
import type { Issuer } from '../port.ts'
import { exchangeEst } from './client.ts'
import type { EstAnswer, EstIdentity, EstServer } from './client.ts'
import { keyKindOfRequest, keyKindsWanted } from './csr-attributes.ts'
import { certificatesOf } from './pkcs7.ts'

export interface EstIssuerOptions {
  readonly server: () => Promise<EstServer>
  /** The certificate in use, if there is one that has not expired. */
  readonly present: () => Promise<Extract<EstIdentity, { by: 'certificate' }> | undefined>
  /** What a device without a certificate shows. */
  readonly bootstrap: () => Promise<EstIdentity | undefined>
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told of each attempt that gave nothing, while trying goes on. */
  readonly warn: (failure: Failure) => void
}

const PAUSE = { baseMs: 5_000, capMs: 900_000 }

/** How long a chain whose dates do not fit is left alone. */
const POSTPONED_MS = 60_000

/** Bounds of what a server may make us wait. */
const RETRY_AFTER = { leastMs: 1_000, mostMs: 86_400_000 }

/** What one attempt gave: a chain, or how long the server wants to be left alone. */
type Outcome = { readonly chain: string } | { readonly laterMs: number; readonly failure: Failure }

/**
 * The issuer that is an EST server (RFC 7030): `simplereenroll` with the certificate in use, else `simpleenroll` with
 * what the device was given to begin with; that too where the first is refused. A server that decides later (202) is
 * asked again when it says. One that asks for another kind of key is told of once for each request, and decides itself.
 * Trying never ends: whoever asked decides.
 */
export function createEstIssuer(options: EstIssuerOptions): Issuer {
  const { clock, random, warn } = options
  let failed = 0
  let notBeforeMs = 0
  let given = ''
  const postponed = createPostponed()
  let comparedCsr = ''
  /** That the server decides later is told once. */
  let toldOfCsr = ''

  const pause = (ms: number) => (notBeforeMs = clock.monotonicMs() + ms)

  return {
    name: 'est',
    async issue(request, signal) {
      const enrol = async (request: IssueRequest): Promise<Outcome> => {
        if (request.csrPem !== comparedCsr) await compare(request, options, signal)
        comparedCsr = request.csrPem
        return attempt(request, options, signal)
      }
      for (;;) {
        await clock.wait(Math.max(0, notBeforeMs - clock.monotonicMs()), signal)
        const before = postponed.take()
        if (before !== undefined) return (given = before)
        pause(backoffMs(failed, PAUSE, random))
        failed += 1
        const outcome = await enrol(request).catch((error: unknown) => {
          signal.throwIfAborted()
          return asFailure(error)
        })
        if (outcome instanceof Failure) warn(outcome)
        else if ('chain' in outcome) return (given = outcome.chain)
        else {
          const { failure, laterMs } = outcome
          const decidesLater = failure.code === 'ISSUER_DECIDES_LATER'
          if (decidesLater) failed = 0
          if (!decidesLater || toldOfCsr !== request.csrPem) warn(failure)
          if (decidesLater) toldOfCsr = request.csrPem
          pause(laterMs)
        }
      }
    },
    async received(_, { outcome }) {
      if (outcome === 'postponed') {
        postponed.keep(given)
        pause(POSTPONED_MS)
        return
      }
      postponed.forget()
      if (outcome !== 'accepted') return
      failed = 0
      notBeforeMs = 0
    },
  }
}

/** Tells of a key that is not what the server asks for. A server that has nothing to say about it need not answer well. */
async function compare(request: IssueRequest, options: EstIssuerOptions, signal: AbortSignal): Promise<void> {
  const server = await options.server()
  const answer = await exchangeEst(server, 'csrattrs', {}, options.clock, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    return asFailure(error)
  })
  if (answer instanceof Failure) return options.warn(answer)
  const { status, body } = answer
  if (status !== 200) return
  const failure = judgeKey(derOf(request), body, server)
  if (failure !== undefined) options.warn(failure)
}

function judgeKey(csrBase64: string, attributes: string, { url }: EstServer): Failure | undefined {
  try {
    const [wanted, present] = [keyKindsWanted(attributes), keyKindOfRequest(csrBase64)]
    if (wanted.length === 0 || wanted.includes(present)) return undefined
    return new Failure(
      'ISSUER_WANTS_OTHER_KEY',
      `${url} asks for a key of kind ${wanted.join(' or ')}, and the request has ${present}`,
    )
  } catch (error) {
    return asFailure(error)
  }
}

async function attempt(request: IssueRequest, options: EstIssuerOptions, signal: AbortSignal): Promise<Outcome> {
  const { clock } = options
  const server = await options.server()
  const csrBase64 = derOf(request)
  const present = await options.present()
  if (present !== undefined) {
    const answer = await exchangeEst(server, 'simplereenroll', { csrBase64, identity: present }, clock, signal).catch(
      (error: unknown) => {
        if (error instanceof Failure && error.code === 'ISSUER_REFUSED') return error
        throw error
      },
    )
    if (!(answer instanceof Failure) && !isRefusal(answer))
      return outcomeOf(answer, 'simplereenroll', server, options, signal)
    const bootstrap = await options.bootstrap()
    if (bootstrap === undefined) throw answer instanceof Failure ? answer : refusal(answer, 'simplereenroll', server)
  }
  const identity = await options.bootstrap()
  const answer = await exchangeEst(server, 'simpleenroll', { csrBase64, identity }, clock, signal)
  return outcomeOf(answer, 'simpleenroll', server, options, signal)
}

async function outcomeOf(
  answer: EstAnswer,
  operation: string,
  server: EstServer,
  { clock, warn }: EstIssuerOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  const { status, body, retryAfter } = answer
  if (status === 202) {
    const laterMs = retryAfterMs(retryAfter, clock.now())
    const fact = `${server.url} decides later; it is asked again in ${Math.round(laterMs / 1000)} s`
    return { laterMs, failure: new Failure('ISSUER_DECIDES_LATER', fact) }
  }
  const failure = refusal(answer, operation, server)
  if ((status === 429 || status === 503) && retryAfter !== undefined)
    return { laterMs: retryAfterMs(retryAfter, clock.now()), failure }
  if (status !== 200) throw failure
  const own = await certificatesOf(body)
  const others = await authoritiesOf(server, clock, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    warn(asFailure(error))
    return []
  })
  return { chain: [...own, ...others.filter((pem) => !own.includes(pem) && !isRoot(pem))].join('') }
}

/** As it is sent. */
function derOf({ csrPem }: IssueRequest): string {
  return csrPem.replaceAll(/-----[^-]+-----|\s/g, '')
}

/** A server that is busy, or lost its patience, has not refused the certificate. */
function isRefusal({ status }: Pick<EstAnswer, 'status'>): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}

/** The way from the leaf to the root, where the server has it to give: a leaf that needs none is good without. */
async function authoritiesOf(server: EstServer, clock: Clock, signal: AbortSignal): Promise<readonly string[]> {
  const { status, body } = await exchangeEst(server, 'cacerts', {}, clock, signal)
  return status === 200 ? certificatesOf(body) : []
}

/** A server's word, short and in one line: it is the server's text, not ours. */
function refusal({ status, body }: EstAnswer, operation: string, { url }: EstServer): Failure {
  const words = body
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    // A server that repeats what it was asked would have the password in our log.
    .replaceAll(/\b(Basic|Bearer|Digest)\s+\S+/gi, '$1 ***')
    .trim()
    .slice(0, 200)
  const code = isRefusal({ status }) ? 'ISSUER_REFUSED' : 'ISSUER_UNREACHABLE'
  return new Failure(code, `${url} answered ${operation} with ${status}${words === '' ? '' : `: ${words}`}`)
}

/** Seconds, or a date. Source: RFC 9110, 10.2.3. */
function retryAfterMs(text: string | undefined, nowMs: number): number {
  const ms = /^\d{1,9}$/.test(text ?? '') ? Number(text) * 1000 : Date.parse(text ?? '') - nowMs
  const wanted = Number.isNaN(ms) ? PAUSE.capMs : ms
  return Math.min(RETRY_AFTER.mostMs, Math.max(RETRY_AFTER.leastMs, wanted))
}

/** A root is no part of what a device shows. One that cannot be read is left in, and refused by name later. */
function isRoot(pem: string): boolean {
  try {
    const certificate = new X509Certificate(pem)
    return certificate.subject === certificate.issuer
  } catch (error) {
    if (error instanceof Error) return false
    throw error
  }
}
