import { stat } from 'node:fs/promises'
import { providedPair } from './config/paths.ts'
import type { Attendance } from './connected.ts'
import { loadCredentialFiles } from './credential/files.ts'
import { certificateNeed } from './credential/need.ts'
import { obtainCertificate } from './credential/obtain.ts'
import type { ObtainEvent } from './credential/obtain.ts'
import { openVault } from './credential/vault.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import { createFolderIssuer } from './issue/folder.ts'
import { forgetAssignment } from './provision/assignment.ts'
import { createBell } from './telemetry/bell.ts'

/** What this device proves itself with, over time. */
export interface DeviceIdentity {
  /**
   * Runs `work` with the credential, and anew with every one that takes its place.
   *
   * @throws Failure of the vault, or of `work`
   * @throws signal.reason when aborted
   */
  each(work: (credential: X509Credential, until: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>
  /** Resolves when there is a credential. */
  first(signal: AbortSignal): Promise<void>
}

/** Whether a certificate has expired is looked at so often; until then, and after, the device goes on with the one it has. */
const EXPIRY_TICK_MS = 60_000

/**
 * Opens what the device proves itself with: the pair of files that the configuration names, or the vault.
 *
 * @throws Failure KEY_EXPOSED, KEY_UNREADABLE, CHAIN_UNREADABLE, TLS_LOCAL_CREDENTIAL, STATE_UNWRITABLE
 */
export async function openIdentity(parts: Attendance): Promise<DeviceIdentity> {
  const { config, facts, log } = parts
  const pair = providedPair(config)
  const provided =
    pair === undefined
      ? undefined
      : await loadCredentialFiles({ certPath: pair.certificateFile, keyPath: pair.keyFile })
  const vault = pair === undefined ? await openVault(config.paths.stateDir, parts.clock) : undefined
  for (const repair of vault?.repairs ?? []) log.failure(repair)
  const initial = provided ?? (await vault?.active())
  const arrived = createBell()

  const take = async (credential: X509Credential) => {
    facts.credential = credential
    facts.awaitingSinceMs = undefined
    facts.keyMode = (await stat(credential.keyFile)).mode & 0o777
    const { thumbprintSha256, notAfter } = credential.facts
    log.info('using certificate', {
      thumbprintSha256,
      notAfter,
      keyFile: credential.keyFile,
      origin: credential.origin,
    })
    arrived.ring()
  }
  if (initial !== undefined) await take(initial)

  return {
    async first(signal) {
      while (facts.credential === undefined) await arrived.next(signal)
    },
    async each(work, signal) {
      if (initial === undefined && vault !== undefined) await take(await obtain(vault, parts, signal))
      while (!signal.aborted && facts.credential !== undefined) {
        let next: X509Credential
        const over = new AbortController()
        const until = AbortSignal.any([signal, over.signal])
        const replacing = replacement(facts.credential, vault, parts, until)
        const working = work(facts.credential, until)
        try {
          next = await Promise.race([replacing, working.then(() => replacing)])
        } finally {
          over.abort()
          // The old session is closed before anything new begins, and before this process ends.
          await Promise.allSettled([working, replacing])
        }
        await take(next)
      }
      signal.throwIfAborted()
    },
  }
}

/**
 * The credential that takes the place of an expired one. That it expired is said by a clock that may be wrong, so the
 * old one stays in use until then. A pair of files is its owner's to replace.
 */
async function replacement(
  credential: X509Credential,
  vault: Vault | undefined,
  parts: Attendance,
  signal: AbortSignal,
): Promise<X509Credential> {
  if (vault === undefined) return untilAborted(signal)
  const { registrationId } = parts.config.device
  const isGood = () => certificateNeed(credential.facts, registrationId, parts.clock.now()) === undefined
  while (isGood()) await parts.clock.wait(EXPIRY_TICK_MS, signal)
  return obtain(vault, parts, signal)
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}

/** Makes the request, or takes up the one that waits, and stays until its chain is in the vault. */
async function obtain(vault: Vault, parts: Attendance, signal: AbortSignal): Promise<X509Credential> {
  const { config, clock, facts, log } = parts
  const { registrationId } = config.device
  const { requestsDir, issuedDir, assignmentFile } = config.paths
  const issuer = createFolderIssuer({
    clock,
    requestsDir,
    issuedDir,
    warn: (failure) => log.failure(failure, { issuer: 'folder' }),
  })
  facts.awaitingSinceMs = clock.now()
  if (facts.credential === undefined) {
    facts.connection = { state: 'disconnected', sinceMs: facts.startedAtMs, doing: 'awaitingCertificate' }
  }
  const report = (event: ObtainEvent) => logObtaining(event, parts)
  const wanted = { registrationId, keyType: config.auth.x509.keyType }
  const credential = await obtainCertificate(wanted, { vault, source: issuer, clock, report }, signal)
  // The hub knows the old leaf only; the new one has to pass through DPS first.
  await forgetAssignment(assignmentFile)
  return credential
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
    case 'tooEarly':
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
