import type { Failure, FailureCode } from '../failure.ts'
import { isSameRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Memory } from './memory.ts'
import type { PolicyFacts } from './policy.ts'

/**
 * Refusals that come inside a TLS channel whose server has proved its name: nobody on the way can forge them.
 *
 * - `HUB_REFUSED_CREDENTIAL`, `DPS_REFUSED_CONNECTION`: CONNACK 4 or 5, the answer to a bad credential, to one of the wrong
 *   type for the identity, and to a disabled device. One alone is often the hub's word before a registration.
 * - `DPS_UNAUTHORIZED`: 401, the attestation failed, or the enrollment is disabled.
 * - `DPS_DISABLED`: which of 401 and `disabled` DPS says of a disabled enrollment is not documented, so both count alike.
 *   Who wants to shut a device out must disable its SAS enrollment as well; that is asked, too, before SAS is used.
 * - `DPS_NOT_FOUND`: 404 may be a wrong ID scope, but an enrollment that was deleted reads the same. With a wrong scope the
 *   other lane is not found either, and the move is rolled back.
 *
 * What is left out although the table calls it `refused`: 400 (the form of the request, a webhook of the allocation), a
 * registration that failed after the attestation had succeeded, protocol, topics and the kind of hub (configuration), and a
 * certificate that does not fit its key (OpenSSL says the same of a garbled one that anybody may send). A close, a reset, an
 * alert, DNS, proxies, the trust in a server and throttling are in anybody's power and never count.
 *
 * Source: Azure DPS status codes and IoT Hub CONNACK codes; azure-docs, concepts-x509-attestation.
 */
const AUTHENTICATED: ReadonlySet<FailureCode> = new Set([
  'HUB_REFUSED_CREDENTIAL',
  'DPS_REFUSED_CONNECTION',
  'DPS_UNAUTHORIZED',
  'DPS_DISABLED',
  'DPS_NOT_FOUND',
])

/**
 * How long a refusal says nothing after a registration with another credential: about 30 minutes in DPS, and some more for
 * what is slow. Source: azure-iot-sdk-node issue 721.
 */
const NO_VERDICT_MS = 35 * 60_000

/** Whether this failure is the cloud's own word that the active credential is no good. */
export function isTerminalRefusal(failure: Failure, of: CredentialRef, facts: PolicyFacts): boolean {
  if (facts.clock !== 'trusted' || isNoVerdict(of, facts.memory, facts.nowMs)) return false
  if (isAuthenticatedRefusal(failure.code)) return true
  return failure.code === 'TLS_CREDENTIAL_REFUSED' && hasExpired(of, facts)
}

/** Whether only the cloud itself can have said this of a credential. */
export function isAuthenticatedRefusal(code: FailureCode): boolean {
  return AUTHENTICATED.has(code)
}

/**
 * DPS remembers the credential it took last for about 30 min and may refuse any other meanwhile. A registration that lies
 * ahead, after the clock was set back, counts as of now.
 */
export function isNoVerdict(of: CredentialRef, { lastRegistration }: Memory, nowMs: number): boolean {
  if (lastRegistration === undefined || isSameRef(lastRegistration.of, of)) return false
  return nowMs - lastRegistration.atMs < NO_VERDICT_MS
}

/** One more refusal in a row; another credential starts anew. */
export function withRefusal(memory: Memory, of: CredentialRef, failure: Failure, nowMs: number): Memory {
  const before = isSameRef(memory.refusals?.of, of) ? memory.refusals : undefined
  return {
    ...memory,
    refusals: {
      of,
      count: (before?.count ?? 0) + 1,
      firstAtMs: Math.min(before?.firstAtMs ?? nowMs, nowMs),
      lastAtMs: nowMs,
      code: failure.code,
    },
  }
}

/** The credential works. */
export function withoutRefusals(memory: Memory): Memory {
  if (memory.refusals === undefined) return memory
  const { refusals: _over, ...others } = memory
  return others
}

/**
 * A TLS 1.2 alert comes before the server has proved itself, so that anybody on the way could send it: it says no more than
 * the certificate says already.
 */
function hasExpired(of: CredentialRef, { inventory, nowMs }: PolicyFacts): boolean {
  const held = inventory.certificates.find(({ ref }) => isSameRef(ref, of))
  return held !== undefined && nowMs > held.notAfterMs
}
