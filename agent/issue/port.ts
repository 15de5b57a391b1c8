import type { IssueRequest, Reception } from '../pki/exchange.ts'

/**
 * Turns a certificate request into a chain. The protocol: `issue`, then `received` with the outcome. After a refusal
 * `issue` again, which then waits for another offer than the refused one; after a postponement too, which then gives
 * the same chain in a minute or another one at once.
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
