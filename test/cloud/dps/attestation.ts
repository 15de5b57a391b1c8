/** Whether what a device showed proves its registration ID, and through which enrollment. Pure: time is an argument. */
import { createHash } from 'node:crypto'
import type { X509Certificate } from 'node:crypto'
import type { Hello } from '../model.ts'
import { deriveDeviceKey, parseSas, verifySas } from '../sas.ts'
import { commonName, nearestAuthority, validityProblem } from './certificates.ts'
import type { Attestation, Enrollment, EnrollmentStore } from './enrollments.ts'

/** What a device proved; also what DPS will write into the hub. */
export type Proof =
  | { readonly type: 'symmetricKey'; readonly primaryKey: string; readonly secondaryKey: string }
  | { readonly type: 'x509'; readonly leaf: X509Certificate; readonly signer: X509Certificate | undefined }

export type Attested =
  | { readonly outcome: 'attested'; readonly enrollment: Enrollment; readonly proof: Proof }
  | { readonly outcome: 'disabled'; readonly enrollment: Enrollment; readonly reason: string }
  /** `message` is what the device reads, `reason` what goes to the record. */
  | { readonly outcome: 'refused'; readonly message: string; readonly reason: string }

export interface AttestationRequest {
  readonly hello: Hello
  readonly idScope: string
  readonly registrationId: string
  readonly enrollments: EnrollmentStore
  readonly nowMs: number
}

/** Tells one proof from another without giving it away. */
export function fingerprintOf(proof: Proof): string {
  if (proof.type === 'x509') return proof.leaf.fingerprint256
  return createHash('sha256').update(proof.primaryKey).digest('hex')
}

/** A password is judged as a SAS token, otherwise the certificate chain is. */
export function attest(request: AttestationRequest): Attested {
  if (request.hello.password !== '') return attestByKey(request)
  if (request.hello.chain.length > 0) return attestByCertificate(request)
  return refuse('Unauthorized', 'neither a SAS token nor a certificate was shown')
}

type SymmetricKey = Extract<Attestation, { type: 'symmetricKey' }>
type Keyed = { readonly enrollment: Enrollment; readonly keys: SymmetricKey }

function attestByKey({ hello, idScope, registrationId, enrollments, nowMs }: AttestationRequest): Attested {
  const token = parseSas(hello.password)
  if (!token.ok) return refuse('Unauthorized', token.reason)
  // Microsoft's Python client sends no skn at all.
  const { skn = 'registration' } = token.value
  if (skn !== 'registration') return refuse('Unauthorized', `skn of the token is ${skn} and not registration`)

  const resource = `${idScope}/registrations/${registrationId}`
  let reason = `no symmetric key enrollment is for ${registrationId}`
  for (const { enrollment, keys } of keyedEnrollments(enrollments, registrationId)) {
    const verified = verifySas(hello.password, {
      ...{ resource, nowMs, scope: 'exact', ignoreCase: 'all' },
      keys: [keys.primaryKey, keys.secondaryKey],
    })
    if (verified.ok) return admit(enrollment, { ...keys, type: 'symmetricKey' })
    reason = verified.reason
  }
  return refuse('Unauthorized', reason)
}

/** The individual enrollment alone when there is one with keys; otherwise every group with its derived keys. */
function keyedEnrollments(enrollments: EnrollmentStore, registrationId: string): Keyed[] {
  const individual = enrollments.get('individual', registrationId)
  if (individual?.attestation.type === 'symmetricKey') return [{ enrollment: individual, keys: individual.attestation }]
  return enrollments.all('group').flatMap((enrollment) => {
    const { attestation } = enrollment
    if (attestation.type !== 'symmetricKey') return []
    const primaryKey = deriveDeviceKey(attestation.primaryKey, registrationId)
    const secondaryKey = deriveDeviceKey(attestation.secondaryKey, registrationId)
    return [{ enrollment, keys: { type: 'symmetricKey', primaryKey, secondaryKey } }]
  })
}

function attestByCertificate({ hello, registrationId, enrollments, nowMs }: AttestationRequest): Attested {
  const [leaf] = hello.chain
  if (leaf === undefined) return refuse('Unauthorized', 'no certificate was shown')
  const name = commonName(leaf)
  if (name?.toLowerCase() !== registrationId.toLowerCase())
    return refuse('Invalid certificate', `the CN of the leaf is ${name ?? 'absent'} and not ${registrationId}`)

  const individual = individualOfLeaf(enrollments, leaf)
  if (individual !== undefined) {
    if (individual.id.toLowerCase() !== registrationId.toLowerCase())
      return refuse('Invalid certificate', `the leaf belongs to the individual enrollment ${individual.id}`)
    const problem = validityProblem(leaf, nowMs)
    if (problem !== undefined) return refuse('Invalid certificate', problem)
    return admit(individual, { type: 'x509', leaf, signer: undefined })
  }

  const nearest = nearestAuthority(hello.chain, enrolledAuthorities(enrollments))
  if (nearest === undefined)
    return refuse('CA certificate not found', 'the chain leads to no CA certificate of an enrollment group')
  const signer = nearest.authority.certificate
  const problem = [...nearest.path, signer]
    .map((link) => validityProblem(link, nowMs))
    .find((found) => found !== undefined)
  if (problem !== undefined) return refuse('Invalid certificate', problem)
  return admit(nearest.authority.enrollment, { type: 'x509', leaf, signer })
}

function individualOfLeaf(enrollments: EnrollmentStore, leaf: X509Certificate): Enrollment | undefined {
  return enrollments
    .all('individual')
    .find((enrollment) =>
      enrollments.authoritiesOf(enrollment).some((enrolled) => enrolled.fingerprint256 === leaf.fingerprint256),
    )
}

function enrolledAuthorities(enrollments: EnrollmentStore) {
  return enrollments
    .all('group')
    .flatMap((enrollment) => enrollments.authoritiesOf(enrollment).map((certificate) => ({ certificate, enrollment })))
}

/** A disabled match stops the search: that is how one device of an enabled group is blocked. */
function admit(enrollment: Enrollment, proof: Proof): Attested {
  if (enrollment.provisioningStatus === 'enabled') return { outcome: 'attested', enrollment, proof }
  return { outcome: 'disabled', enrollment, reason: `the ${enrollment.kind} enrollment ${enrollment.id} is disabled` }
}

function refuse(message: string, reason: string): Attested {
  return { outcome: 'refused', message, reason }
}
