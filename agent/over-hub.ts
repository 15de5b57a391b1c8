import { obtainFrom } from './certificate.ts'
import type { Attendance } from './connected.ts'
import { isSameRef, pendingRef } from './credential/credential-ref.ts'
import type { CredentialRef } from './credential/credential-ref.ts'
import { moveOf } from './credential/lifecycle.ts'
import type { Vault } from './credential/vault.ts'
import { isManaged } from './credential/x509-credential.ts'
import { asFailure, Failure } from './failure.ts'
import type { Live } from './live.ts'
import type { Session } from './hub/session.ts'
import { createHubIssuer } from './issue/hub/issuer.ts'
import { openRequestNote } from './issue/hub/note.ts'
import type { Issuer } from './issue/port.ts'
import { refOf } from './loaded.ts'
import { makeRequest } from './managed.ts'

interface ManagedParts {
  readonly vault: Vault
  readonly live: Live<Session>
  readonly parts: Attendance
}

/**
 * The next certificate of certificate management. Where the hub renews and a session lives on a certificate that it
 * issued, it is asked over that, which touches nothing that works; else, and when the hub does not issue, DPS is to issue
 * it with the registration, and only the request is made.
 *
 * @throws Failure of the vault
 * @throws signal.reason when aborted
 */
export async function obtainManaged(managed: ManagedParts, signal: AbortSignal): Promise<CredentialRef> {
  const { vault, parts } = managed
  if (await canRenew(managed, signal)) {
    const outcome = await obtainOverHub(managed, signal)
    if (!(outcome instanceof Failure)) return outcome
    parts.log.failure(outcome, { event: 'the hub renews nothing, and DPS is asked' })
  }
  await makeRequest(vault, parts.config)
  return pendingRef
}

/** After a start the session is still to come; without one for so long, DPS is asked. */
const SESSION_WITHIN_MS = 600_000

/** What the hub refuses, or what has expired, gets no session on which anything could be asked. */
const hopeless: ReadonlySet<string> = new Set(['rescue', 'expiry', 'return'])

async function canRenew({ vault, live, parts }: ManagedParts, signal: AbortSignal): Promise<boolean> {
  const { clock, config, facts } = parts
  if (config.issuer.kind !== 'hub-credentials') return false
  const active = await vault.active()
  if (active === undefined || !isManaged(active)) return false
  const lifecycle = facts.rotation?.record().lifecycle
  const move = lifecycle && moveOf(lifecycle)
  // To register anew is the very wish.
  if (move !== undefined && isSameRef(move.candidate, refOf(active))) return false
  if (move !== undefined && hopeless.has(move.cause)) return live.now()?.presented.lane === 'x509'
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const waits = [live.next(until), clock.wait(SESSION_WITHIN_MS, until).then(() => undefined)]
  try {
    const session = await Promise.race(waits)
    return session?.presented.lane === 'x509'
  } finally {
    over.abort(new Error('one of them is enough'))
    await Promise.allSettled(waits)
  }
}

/** A request that the hub refuses for what it is, is made anew with another key; once. */
async function obtainOverHub(managed: ManagedParts, signal: AbortSignal): Promise<CredentialRef | Failure> {
  const { vault, parts } = managed
  const issuer = hubIssuer(managed)
  const once = () => obtainFrom(issuer, vault, parts, signal).then(refOf, asFailure)
  const outcome = await once()
  signal.throwIfAborted()
  if (!(outcome instanceof Failure) || outcome.code !== 'HUB_CSR_REFUSED') return outcome
  parts.log.failure(outcome, { event: 'the request is made anew' })
  await vault.renounce()
  const again = await once()
  signal.throwIfAborted()
  return again
}

/** A certificate that has expired opens no session any more, on which the hub could be asked. */
async function lineBeforeExpiry({ live, vault, parts }: ManagedParts, signal: AbortSignal): Promise<Session> {
  const { clock } = parts
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const expired = async (): Promise<undefined> => {
    for (;;) {
      const active = await vault.active()
      const leftMs = active === undefined ? 0 : Date.parse(active.facts.notAfter) - clock.now()
      if (leftMs <= 0) return
      await clock.wait(Math.min(leftMs, LOOK_EVERY_MS), until)
    }
  }
  const waits = [live.next(until), expired()]
  try {
    const session = await Promise.race(waits)
    if (session !== undefined) return session
    throw new Failure('HUB_ISSUES_NOTHING', 'the certificate has expired, so that there is no session to ask on')
  } finally {
    over.abort(new Error('one of them is enough'))
    await Promise.allSettled(waits)
  }
}

/** A clock may be set while the device waits. */
const LOOK_EVERY_MS = 3_600_000

function hubIssuer(managed: ManagedParts): Issuer {
  const { parts } = managed
  const { config, clock, random, log } = parts
  return createHubIssuer({
    line: (signal) => lineBeforeExpiry(managed, signal),
    note: openRequestNote(config.paths.hubRequestFile),
    ...{ clock, random, warn: (failure) => log.failure(failure, { issuer: 'hub-credentials' }) },
  })
}
