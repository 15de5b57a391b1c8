import type { CertificateFacts } from '../pki/certificate.ts'
import { checkChain } from '../pki/chain.ts'
import type { ChainProblem, CheckedChain } from '../pki/chain.ts'
import type { IssueRequest, Reception } from '../pki/exchange.ts'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { PendingRequest, Vault, Wanted } from './vault.ts'
import type { X509Credential } from './x509-credential.ts'

/** Whoever turns a request into a chain. Its answer is not trusted. */
export interface ChainSource {
  /** Who gave the last chain. */
  readonly name?: string
  /** Waits for a chain in PEM, for days if need be. */
  issue(request: IssueRequest, signal: AbortSignal): Promise<string>
  /**
   * Told what became of the chain that `issue` gave last, so that it does not give a refused one again, and a
   * postponed one only in a minute.
   */
  received(request: IssueRequest, reception: Reception): Promise<void>
}

/** What there is to log while a certificate is awaited. */
export type ObtainEvent =
  | { readonly kind: 'awaiting'; readonly request: PendingRequest }
  | { readonly kind: 'refused' | 'postponed'; readonly problems: readonly ChainProblem[] }
  | { readonly kind: 'accepted'; readonly facts: CertificateFacts }

export interface ObtainNeeds {
  readonly vault: Vault
  readonly source: ChainSource
  readonly clock: Clock
  readonly report: (event: ObtainEvent) => void
}

/**
 * Makes the request or takes up the one that waits, and stays until a chain for it is accepted into the vault.
 * A refused chain is reported and waiting goes on. One that merely is not valid yet, or not any more, is left where it
 * is and judged again and again, since the clock may be wrong; that is reported once.
 *
 * @throws Failure from the vault or the source
 * @throws signal.reason when aborted; the request stays in the vault
 */
export async function obtainCertificate(
  wanted: Wanted,
  needs: ObtainNeeds,
  signal: AbortSignal,
): Promise<X509Credential> {
  const { vault, source, clock, report } = needs
  const pending = await vault.request(wanted)
  const request = { registrationId: pending.registrationId, csrPem: pending.csrPem }
  report({ kind: 'awaiting', request: pending })
  let reported = ''
  for (;;) {
    const pem = await source.issue(request, signal)
    const verdict = checkChain({ pem, ...pending, nowMs: clock.now() })
    if (verdict.ok) return await settle(verdict.value, request, needs)
    const { problems } = verdict
    const outcome = problems.every(isPassing) ? 'postponed' : 'refused'
    const news = [outcome, ...problems.map(({ code }) => code), pem].join('\n')
    if (outcome === 'refused' || news !== reported) report({ kind: outcome, problems })
    reported = news
    await source.received(request, { outcome, problems })
  }
}

/** The vault first: what the source does with its copy matters only once ours is durable. */
async function settle(chain: CheckedChain, request: IssueRequest, needs: ObtainNeeds): Promise<X509Credential> {
  const credential = await needs.vault.accept(chain, needs.source.name)
  needs.report({ kind: 'accepted', facts: credential.facts })
  await needs.source.received(request, { outcome: 'accepted' })
  return credential
}

function isPassing(problem: ChainProblem): boolean {
  return new Failure(problem.code, problem.message).kind === 'transient'
}
