import { openJournal } from '../credential/journal.ts'
import { printRepairs } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'

/**
 * Whether the agent, running or at its next start, takes a chain from where operators put it: always when the vault is
 * all it has, and beside a pair of files while a move to a new certificate waits for one.
 */
export async function isChainAwaited(
  { pair, stateDir }: CredentialSettings,
  environment: CommandEnvironment,
): Promise<boolean> {
  if (pair === undefined) return true
  const lifecycle = (await openJournal(stateDir, environment.clock, printRepairs(environment)).load())?.lifecycle
  return lifecycle?.phase === 'preparing' && lifecycle.move.to === 'x509'
}
