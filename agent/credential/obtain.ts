import type { CertificateFacts } from '../pki/certificate.ts'
import { checkChain } from '../pki/chain.ts'
import type { ChainProblem, CheckedChain } from '../pki/chain.ts'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { PendingRequest, Vault, Wanted } from './vault.ts'
import type { X509Credential } from './x509-credential.ts'

/** The request as whoever turns it into a chain sees it. */
export interface ChainRequest {
  readonly registrationId: string
  readonly csrPem: string
}

/** How a chain was received. */
export type Reception =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly problems: readonly ChainProblem[] }

/** Whoever turns a request into a chain. Its answer is not trusted. */
export interface ChainSource {
  /** Waits for a chain in PEM, for days if need be. */
  issue(request: ChainRequest, signal: AbortSignal): Promise<string>
  /** Told what became of the chain that `issue` gave last, so that it does not give a refused one again. */
  received(request: ChainRequest, reception: Reception): Promise<void>
}

/** What there is to log while a certificate is awaited. */
export type ObtainEvent =
  | { readonly kind: 'awaiting'; readonly request: PendingRequest }
  | { readonly kind: 'refused'; readonly problems: readonly ChainProblem[] }
  | { readonly kind: 'tooEarly'; readonly problems: readonly ChainProblem[] }
  | { readonly kind: 'accepted'; readonly facts: CertificateFacts }

export interface ObtainNeeds {
  readonly vault: Vault
  readonly source: ChainSource
  readonly clock: Clock
  readonly report: (event: ObtainEvent) => void
}

/** How long a chain that is not valid yet is left alone before it is looked at again. */
const TOO_EARLY_MS = 60_000

/**
 * Makes the request or takes up the one that waits, and stays until a chain for it is accepted into the vault.
 * A refused chain is reported and waiting goes on. One that is merely not valid yet is kept: the clock may be wrong.
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
  for (;;) {
    const pem = await source.issue(request, signal)
    const verdict = checkChain({ pem, ...pending, nowMs: clock.now() })
    if (verdict.ok) return await settle(verdict.value, request, needs)
    const { problems } = verdict
    if (problems.every((problem) => isPassing(problem))) {
      report({ kind: 'tooEarly', problems })
      await clock.wait(TOO_EARLY_MS, signal)
    } else {
      report({ kind: 'refused', problems })
      await source.received(request, { accepted: false, problems })
    }
  }
}

/** The vault first: what the source does with its copy matters only once ours is durable. */
async function settle(chain: CheckedChain, request: ChainRequest, needs: ObtainNeeds): Promise<X509Credential> {
  const credential = await needs.vault.accept(chain)
  needs.report({ kind: 'accepted', facts: credential.facts })
  await needs.source.received(request, { accepted: true })
  return credential
}

function isPassing(problem: ChainProblem): boolean {
  return new Failure(problem.code, problem.message).kind === 'transient'
}
