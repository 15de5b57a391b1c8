import type { ChainProblem } from '../pki/chain.ts'

/** What an issuer needs to know. Nothing of it is secret. */
export interface IssueRequest {
  readonly registrationId: string
  /** PKCS#10, PEM. */
  readonly csrPem: string
}

/** What became of the chain that an issuer gave. */
export type Reception =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly problems: readonly ChainProblem[] }

/**
 * Turns a certificate request into a chain. The protocol: `issue`, then `received` with the outcome; after a refusal
 * `issue` again, which then waits for something else than what was refused.
 */
export interface Issuer {
  /** As the configuration calls it. */
  readonly name: string
  /**
   * Waits for a chain in PEM, for days if need be. The same request may be given again after a restart.
   *
   * @throws signal.reason when aborted
   */
  issue(request: IssueRequest, signal: AbortSignal): Promise<string>
  /** Never fails because of the outside: the credential is in the vault by then, or waiting goes on. */
  received(request: IssueRequest, reception: Reception): Promise<void>
}
