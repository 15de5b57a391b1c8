/** What stands before a registration: who asks, and whether the proof is good. Decides only; the caller acts. */
import type { Faults } from '../faults.ts'
import type { Hello, Verdict } from '../model.ts'
import type { Attested, Proof } from './attestation.ts'
import { attest, fingerprintOf } from './attestation.ts'
import type { Enrollment, EnrollmentStore } from './enrollments.ts'
import type { Records } from './records.ts'
import type { DpsUser } from './username.ts'
import { isKnownApiVersion, parseUsername } from './username.ts'
import { isRegistrationId } from './wording.ts'

/** A refusal in an answer: `message` is what the device reads, `reason` what goes to the record. */
export interface Refusal {
  readonly errorCode: number
  readonly message: string
  readonly reason: string
}

export type Admitted = Exclude<Attested, { outcome: 'refused' }>

export interface Court {
  /** At CONNECT. */
  authorize(hello: Hello): Verdict
  /** At a registration. */
  judge(hello: Hello, user: DpsUser): Refusal | Admitted
}

export interface CourtOptions {
  readonly idScope: string
  readonly faults: Faults
  readonly enrollments: EnrollmentStore
  readonly records: Records
  readonly now: () => number
}

export function createCourt({ idScope, faults, enrollments, records, now }: CourtOptions): Court {
  const crossGroupRefusal = (enrollment: Enrollment, registrationId: string): Refusal | undefined => {
    const before = records.get(registrationId)?.enrollment
    if (faults.get('crossGroup') === 'allow' || before === undefined) return undefined
    if (before.kind === enrollment.kind && isSameId(before.id, enrollment.id)) return undefined
    return unauthorized('Unauthorized', `${registrationId} is registered through the ${before.kind} ${before.id}`)
  }

  const cacheRefusal = (proof: Proof, registrationId: string): Refusal | undefined => {
    const before = records.get(registrationId)?.attested
    const cachedMs = faults.get('credentialCacheMinutes') * 60_000
    if (before === undefined || now() - before.atMs >= cachedMs) return undefined
    if (before.fingerprint === fingerprintOf(proof)) return undefined
    return unauthorized('Unauthorized', `DPS still has another credential of ${registrationId} in its cache`)
  }

  const judge = (hello: Hello, user: DpsUser): Refusal | Admitted => {
    const { registrationId } = user
    if (!isSameId(hello.clientId, registrationId))
      return unauthorized('Unauthorized', 'the client ID is not the registration ID')
    if (!isRegistrationId(registrationId))
      return { errorCode: 400004, message: 'Invalid registrationId.', reason: 'the registration ID breaks the rules' }
    if (user.idScope !== idScope)
      return { errorCode: 404201, message: 'ID scope not found.', reason: `no ID scope is ${user.idScope}` }
    const attested = attest({ hello, idScope, registrationId, enrollments, nowMs: now() })
    if (attested.outcome === 'refused') return unauthorized(attested.message, attested.reason)
    if (attested.outcome === 'disabled' && faults.get('disabledEnrollment') === 'response401')
      return unauthorized('Unauthorized', attested.reason)
    const cached = attested.outcome === 'attested' ? cacheRefusal(attested.proof, registrationId) : undefined
    return crossGroupRefusal(attested.enrollment, registrationId) ?? cached ?? attested
  }

  return {
    judge,
    authorize(hello) {
      const user = parseUsername(hello.username)
      if (user === undefined) return notAccepted(4, 'the user name has not the form of DPS')
      if (!isKnownApiVersion(user.apiVersion)) return notAccepted(5, `api-version ${user.apiVersion} is not known`)
      if (faults.get('clientIdMismatch') === 'connack' && !isSameId(hello.clientId, user.registrationId))
        return notAccepted(5, `the client ID is not the registration ID ${user.registrationId}`)
      if (faults.get('dpsCredentialRefusal') === 'response') return { accepted: true }
      const judged = judge(hello, user)
      return 'errorCode' in judged ? notAccepted(5, judged.reason) : { accepted: true }
    },
  }
}

function unauthorized(message: string, reason: string): Refusal {
  return { errorCode: 401002, message, reason }
}

function notAccepted(returnCode: 4 | 5, reason: string): Verdict {
  return { accepted: false, returnCode, reason }
}

function isSameId(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}
