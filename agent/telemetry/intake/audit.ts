import { Failure } from '../../failure.ts'
import type { Sample } from '../sample.ts'

/**
 * Keeps what the outbox gives up last to root and the user of the agent: others could fill the outbox with it.
 *
 * @param uid     asked only when a sample is one of these
 * @param ownUid  of the agent
 * @throws Failure TELEMETRY_FORBIDDEN  another user, or one who cannot be told
 */
export async function checkAudit(
  samples: readonly Sample[],
  uid: () => Promise<number | undefined>,
  ownUid: number | undefined,
): Promise<void> {
  if (!samples.some(({ priority }) => priority === 'audit')) return
  const user = await uid()
  if (user !== undefined && (user === 0 || user === ownUid)) return
  const who = user === undefined ? 'and who this is cannot be told (that takes /usr/bin/perl)' : `not for user ${user}`
  throw new Failure('TELEMETRY_FORBIDDEN', `priority audit is for root and the user of the agent, ${who}`)
}
