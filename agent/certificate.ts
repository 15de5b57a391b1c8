import type { Attendance } from './connected.ts'
import { obtainCertificate } from './credential/obtain.ts'
import type { ObtainEvent } from './credential/obtain.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import type { Connection, Facts } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import { createFolderIssuer } from './issue/folder.ts'
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
    const outcome = await obtain(vault, parts, signal).catch(asFailure)
    if (!(outcome instanceof Failure)) return outcome
    signal.throwIfAborted()
    if (isNewborn(facts) && outcome.kind !== 'transient') throw outcome
    const nextAttemptInMs = backoffMs(failed, OBTAIN_RETRY, random)
    log.failure(outcome, { event: 'a certificate could not be asked for', nextAttemptInMs })
    if (isNewborn(facts)) facts.connection = { ...waitingForCertificate(facts), failure: outcome }
    await clock.wait(nextAttemptInMs, signal)
  }
}

/** Makes the request, or takes up the one that waits, and stays until its chain is in the vault. */
async function obtain(vault: Vault, parts: Attendance, signal: AbortSignal): Promise<X509Credential> {
  const { config, clock, facts, log } = parts
  const { registrationId } = config.device
  const { requestsDir, issuedDir } = config.paths
  const warn = (failure: Failure) => log.failure(failure, { issuer: 'folder' })
  const issuer = createFolderIssuer({ clock, requestsDir, issuedDir, warn })
  facts.awaitingSinceMs = clock.now()
  if (isNewborn(facts)) facts.connection = waitingForCertificate(facts)
  const report = (event: ObtainEvent) => logObtaining(event, parts)
  const wanted = { registrationId, keyType: config.auth.x509.keyType }
  return obtainCertificate(wanted, { vault, source: issuer, clock, report }, signal).finally(() => {
    facts.awaitingSinceMs = undefined
  })
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
      news.ring()
      const { keyKind, keyFile } = event.request
      return log.warn('waiting for a certificate', {
        ...{ keyKind, keyFile, requestsDir: config.paths.requestsDir, issuedDir: config.paths.issuedDir },
        advice: 'iot-device-agent csr, have it signed, then: iot-device-agent install-certificate CHAIN.pem',
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
