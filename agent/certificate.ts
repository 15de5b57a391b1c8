import type { Attendance } from './connected.ts'
import { certificateNeed } from './credential/need.ts'
import { obtainCertificate } from './credential/obtain.ts'
import type { ObtainEvent } from './credential/obtain.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import type { Connection, Facts } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import { createFolderIssuer } from './issue/folder.ts'
import { forgetAssignment } from './provision/assignment.ts'
import { backoffMs } from './system/backoff.ts'

/** Whether a certificate has expired is looked at so often. */
const EXPIRY_TICK_MS = 60_000

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
    if (facts.credential === undefined && outcome.kind !== 'transient') throw outcome
    const nextAttemptInMs = backoffMs(failed, OBTAIN_RETRY, random)
    log.failure(outcome, { event: 'a certificate could not be asked for', nextAttemptInMs })
    if (facts.credential === undefined) facts.connection = { ...waitingForCertificate(facts), failure: outcome }
    await clock.wait(nextAttemptInMs, signal)
  }
}

/**
 * Waits until the credential has expired, then for the one that takes its place. That it expired is said by a clock that
 * may be wrong: when the clock finds back, the wait for another one ends, and its request stays for the day it is needed.
 *
 * @throws signal.reason when aborted
 */
export async function obtainWhenExpired(
  credential: X509Credential,
  vault: Vault,
  parts: Attendance,
  signal: AbortSignal,
): Promise<X509Credential> {
  const { registrationId } = parts.config.device
  const isGood = () => certificateNeed(credential.facts, registrationId, parts.clock.now()) === undefined
  for (;;) {
    await until(() => !isGood(), parts, signal)
    const obtained = await unlessGoodAgain(isGood, vault, parts, signal)
    if (obtained !== undefined) return obtained
    parts.facts.awaitingSinceMs = undefined
    parts.log.info('the certificate is good after all: the clock was wrong')
  }
}

async function unlessGoodAgain(
  isGood: () => boolean,
  vault: Vault,
  parts: Attendance,
  signal: AbortSignal,
): Promise<X509Credential | undefined> {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  const obtaining = obtainAtLast(vault, parts, stop)
  const ends = [obtaining, until(isGood, parts, stop)]
  await Promise.race(ends).finally(() => over.abort())
  const [outcome] = await Promise.allSettled([obtaining, ...ends])
  signal.throwIfAborted()
  return outcome.status === 'fulfilled' ? outcome.value : undefined
}

async function until(holds: () => boolean, { clock }: Attendance, signal: AbortSignal): Promise<void> {
  while (!holds()) await clock.wait(EXPIRY_TICK_MS, signal)
}

/** Makes the request, or takes up the one that waits, and stays until its chain is in the vault. */
async function obtain(vault: Vault, parts: Attendance, signal: AbortSignal): Promise<X509Credential> {
  const { config, clock, facts, log } = parts
  const { registrationId } = config.device
  const { requestsDir, issuedDir, assignmentFile } = config.paths
  const warn = (failure: Failure) => log.failure(failure, { issuer: 'folder' })
  const issuer = createFolderIssuer({ clock, requestsDir, issuedDir, warn })
  facts.awaitingSinceMs = clock.now()
  if (facts.credential === undefined) facts.connection = waitingForCertificate(facts)
  const report = (event: ObtainEvent) => logObtaining(event, parts)
  const wanted = { registrationId, keyType: config.auth.x509.keyType }
  const credential = await obtainCertificate(wanted, { vault, source: issuer, clock, report }, signal)
  // The hub knows the old leaf only; the new one has to pass through DPS first. Kept by mistake, the old assignment
  // costs one refusal of the hub, which leads to DPS as well.
  await forgetAssignment(assignmentFile).catch((error: unknown) => log.failure(asFailure(error)))
  return credential
}

function waitingForCertificate({ startedAtMs }: Facts): Extract<Connection, { state: 'disconnected' }> {
  return { state: 'disconnected', sinceMs: startedAtMs, doing: 'awaitingCertificate' }
}

function logObtaining(event: ObtainEvent, { config, facts, log }: Attendance): void {
  switch (event.kind) {
    case 'awaiting': {
      facts.awaitingSinceMs = Date.parse(event.request.requestedAt)
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
