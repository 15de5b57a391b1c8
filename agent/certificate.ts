import { isManagedKind } from './config/paths.ts'
import type { Attendance } from './connected.ts'
import { obtainCertificate } from './credential/obtain.ts'
import type { ObtainEvent } from './credential/obtain.ts'
import type { PendingRequest } from './credential/pending.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import type { Connection, Facts } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import type { Issuer } from './issue/port.ts'
import { issuerOf } from './issuer.ts'
import { checkChain } from './pki/chain.ts'
import { layDownChain } from './pki/exchange.ts'
import { backoffMs } from './system/backoff.ts'

/** A request that could not be made or laid out is tried again on this schedule. */
const OBTAIN_RETRY = { baseMs: 5_000, capMs: 300_000 }

/**
 * Asks for a certificate until there is one. What can pass, as a full disk does, is tried again; and nothing that goes
 * wrong here ends a device that has a credential to go on with.
 *
 * @throws Failure that is not transient, for a device without any credential
 * @throws signal.reason when aborted; the request stays in the vault
 */
export async function obtainAtLast(vault: Vault, parts: Attendance, signal: AbortSignal): Promise<X509Credential> {
  const { clock, facts, log, random } = parts
  for (let failed = 0; ; failed += 1) {
    const outcome = await obtainFrom(issuerOf(vault, parts), vault, parts, signal).catch(asFailure)
    if (!(outcome instanceof Failure)) return outcome
    signal.throwIfAborted()
    if (isNewborn(facts) && outcome.kind !== 'transient') throw outcome
    const nextAttemptInMs = backoffMs(failed, OBTAIN_RETRY, random)
    log.failure(outcome, { event: 'a certificate could not be asked for', nextAttemptInMs })
    if (isNewborn(facts)) facts.connection = { ...waitingForCertificate(facts), failure: outcome }
    await clock.wait(nextAttemptInMs, signal)
  }
}

/**
 * Makes the request, or takes up the one that waits, and stays until its chain is in the vault.
 *
 * @throws Failure of the vault or the issuer
 * @throws signal.reason when aborted; the request stays in the vault
 */
export async function obtainFrom(
  source: Issuer,
  vault: Vault,
  parts: Attendance,
  signal: AbortSignal,
): Promise<X509Credential> {
  const { config, clock, facts } = parts
  const { registrationId } = config.device
  facts.awaitingSinceMs = clock.now()
  if (isNewborn(facts)) facts.connection = waitingForCertificate(facts)
  const report = (event: ObtainEvent) => logObtaining(event, parts)
  const { keyType } = config.auth.x509
  const wanted = {
    registrationId,
    keyType,
    ...(isRemadeForAnotherKey(config.issuer.kind) && { exactly: true as const }),
  }
  return obtainCertificate(wanted, { vault, source, clock, report }, signal).finally(() => {
    facts.awaitingSinceMs = undefined
    facts.request = undefined
  })
}

/** A request that a person may hold in their hands by now stays what it is, whatever the configuration says meanwhile. */
function isRemadeForAnotherKey(kind: Attendance['config']['issuer']['kind']): boolean {
  return kind === 'est' || isManagedKind(kind)
}

/** What a fleet tool needs of the request that waits. @throws Failure NO_PENDING_REQUEST */
export function waitingRequest({ facts }: Pick<Attendance, 'facts'>): object {
  const { csrPem: csr, keyKind, requestedAt } = requireRequest(facts)
  return { csr, keyKind, requestedAt }
}

/**
 * A chain that came over the session with the hub: checked, so that whoever handed it in learns at once what is wrong
 * with it, and laid where it is waited for, which checks it again.
 *
 * @throws Failure NO_PENDING_REQUEST, and by the code of the first problem of a chain that is not good
 */
export async function handIn(pem: string, { clock, config, facts }: Attendance): Promise<object> {
  const request = requireRequest(facts)
  const verdict = checkChain({ pem, ...request, nowMs: clock.now() })
  if (!verdict.ok) {
    const [first] = verdict.problems
    throw new Failure(first?.code ?? 'UNEXPECTED', verdict.problems.map(({ message }) => message).join('; '))
  }
  await layDownChain(config.paths, request.registrationId, verdict.value.pem)
  const { thumbprintSha256, notBefore, notAfter } = verdict.value.facts
  return { thumbprintSha256, notBefore, notAfter }
}

function requireRequest({ request }: Facts): PendingRequest {
  if (request === undefined) throw new Failure('NO_PENDING_REQUEST', 'this device waits for no certificate')
  return request
}

/** Without any credential nothing else is going on. */
function isNewborn({ rotation }: Facts): boolean {
  return rotation === undefined || rotation.record().lifecycle.phase === 'newborn'
}

function waitingForCertificate({ startedAtMs }: Facts): Extract<Connection, { state: 'disconnected' }> {
  return { state: 'disconnected', sinceMs: startedAtMs, doing: 'awaitingCertificate' }
}

function logObtaining(event: ObtainEvent, { config, facts, log, news }: Attendance): void {
  switch (event.kind) {
    case 'awaiting': {
      facts.awaitingSinceMs = Date.parse(event.request.requestedAt)
      // What the hub issues nobody else can hand in.
      if (!isManagedKind(config.issuer.kind)) facts.request = event.request
      news.ring()
      const { keyKind, keyFile } = event.request
      return log.warn('waiting for a certificate', {
        ...{ keyKind, keyFile, requestsDir: config.paths.requestsDir, issuedDir: config.paths.issuedDir },
        advice: isManagedKind(config.issuer.kind)
          ? 'Nothing to do: the hub issues it.'
          : 'iot-device-agent csr, have it signed, then: iot-device-agent install-certificate CHAIN.pem',
      })
    }
    case 'refused':
    case 'postponed':
      return log.error('a chain was not accepted', { verdict: event.kind, problems: event.problems })
    case 'accepted':
      return log.info('the chain was checked and accepted', {
        subject: event.facts.subject,
        issuer: event.facts.issuer,
        thumbprintSha256: event.facts.thumbprintSha256,
        notAfter: event.facts.notAfter,
      })
  }
}
