import { obtainAtLast, obtainWhenExpired } from './certificate.ts'
import { providedPair } from './config/paths.ts'
import type { Attendance } from './connected.ts'
import { loadCredentialFiles } from './credential/files.ts'
import { inspectKey } from './credential/private-file.ts'
import { openVault } from './credential/vault.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import { asFailure } from './failure.ts'
import { backoffMs } from './system/backoff.ts'
import { createBell } from './telemetry/bell.ts'

/** How the cloud takes a credential. */
export interface Trial {
  /** The cloud refused it once more. */
  readonly refused: () => void
  /** The hub let it in and gave it its twin: CONNACK alone proves nothing. */
  readonly proved: () => void
}

/** A credential that is in use, and who hears how the cloud takes it. */
export interface Turn {
  readonly credential: X509Credential
  readonly trial: Trial
}

/** What is done with one credential until `until` aborts. */
export type Work = (turn: Turn, until: AbortSignal) => Promise<void>

/** What this device proves itself with, over time. */
export interface DeviceIdentity {
  /**
   * Runs `work` with the credential, and anew with every one that takes its place.
   *
   * @throws Failure of the vault, or of `work`
   * @throws signal.reason when aborted
   */
  each(work: Work, signal: AbortSignal): Promise<void>
  /** Resolves when there is a credential. */
  first(signal: AbortSignal): Promise<void>
}

/** Refusals in a row after which the other generation has its turn. The first may be a renewal that DPS does not know yet. */
const REFUSALS_A_TURN = 3

/** The other generation registers not before this after the last refusal: DPS is asked at most once a minute. */
const TURN_PAUSE = { baseMs: 120_000, capMs: 240_000 }

/**
 * Opens what the device proves itself with: the pair of files that the configuration names, or the vault.
 *
 * @throws Failure KEY_EXPOSED, KEY_UNREADABLE, CHAIN_UNREADABLE, TLS_LOCAL_CREDENTIAL, STATE_UNWRITABLE
 */
export async function openIdentity(parts: Attendance): Promise<DeviceIdentity> {
  const { config, clock, facts, log } = parts
  const pair = providedPair(config)
  const arrived = createBell()

  const use = async (credential: X509Credential) => {
    facts.credential = credential
    facts.awaitingSinceMs = undefined
    facts.key = await inspectKey(credential)
    const { thumbprintSha256, notAfter } = credential.facts
    const { keyFile, origin } = credential
    log.info('using certificate', { thumbprintSha256, notAfter, keyFile, origin })
    arrived.ring()
  }
  const first = async (signal: AbortSignal) => {
    while (facts.credential === undefined) await arrived.next(signal)
  }

  if (pair !== undefined) {
    const credential = await loadCredentialFiles({ certPath: pair.certificateFile, keyPath: pair.keyFile })
    await use(credential)
    const trial: Trial = { refused: () => undefined, proved: () => undefined }
    return { first, each: (work, signal) => work({ credential, trial }, signal) }
  }

  const vault = await openVault(config.paths.stateDir, clock, (repair) => log.failure(repair))
  const initial = await vault.active()
  if (initial !== undefined) await use(initial)
  return {
    first,
    async each(work, signal) {
      let credential = initial
      if (credential === undefined) {
        credential = await obtainAtLast(vault, parts, signal)
        await use(credential)
      }
      for (;;) {
        credential = await untilReplaced(credential, work, vault, parts, signal)
        await use(credential)
      }
    },
  }
}

/**
 * Works with one credential until another one takes its place: one that was issued because it had expired, or the
 * generation before it (or after it) when the cloud refuses this one. No generation is given up for good, so that a bad
 * certificate cannot strand a device that still has a good one; what proves itself becomes the active one.
 */
async function untilReplaced(
  credential: X509Credential,
  work: Work,
  vault: Vault,
  parts: Attendance,
  signal: AbortSignal,
): Promise<X509Credential> {
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const turned = Promise.withResolvers<X509Credential>()
  const other = await vault.alternative(credential)
  let refusals = 0
  const trial: Trial = {
    refused() {
      refusals += 1
      if (other === undefined || refusals < REFUSALS_A_TURN) return
      parts.log.warn('the cloud refuses this certificate: trying the other one', {
        refused: credential.generation,
        generation: other.generation,
      })
      turned.resolve(other)
    },
    proved() {
      refusals = 0
      vault.activate(credential).catch((error: unknown) => parts.log.failure(asFailure(error)))
    },
  }
  const replacing = obtainWhenExpired(longerLived(credential, other), vault, parts, until)
  const working = work({ credential, trial }, until)
  try {
    const next = await Promise.race([replacing, turned.promise, working.then(() => replacing)])
    over.abort()
    if (next === other) await parts.clock.wait(backoffMs(0, TURN_PAUSE, parts.random), signal)
    return next
  } finally {
    over.abort()
    // The old session is closed before anything new begins, and before this process ends.
    await Promise.allSettled([working, replacing])
  }
}

function longerLived(one: X509Credential, other: X509Credential | undefined): X509Credential {
  return other !== undefined && Date.parse(other.facts.notAfter) > Date.parse(one.facts.notAfter) ? other : one
}
