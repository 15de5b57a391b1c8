/** The enrollments of one DPS instance: who may register, and how. In the words of the REST API 2021-10-01. */
import type { X509Certificate } from 'node:crypto'
import type { InitialTwin } from '../model.ts'
import { ServiceError } from '../model.ts'
import { assertEtag } from './etag.ts'
import { parseEnrollment } from './enrollment-form.ts'
import { dateTimeUtc, makeEtag } from './wording.ts'

/** A certificate in a slot of an enrollment. */
export interface EnrolledCertificate {
  readonly slot: 'primary' | 'secondary'
  readonly certificate: X509Certificate
}

export type Attestation =
  | { readonly type: 'symmetricKey'; readonly primaryKey: string; readonly secondaryKey: string }
  /** Leaves for an individual enrollment, authorities for a group. */
  | { readonly type: 'x509'; readonly certificates: readonly EnrolledCertificate[] }
  /** Names of verified certificates of the instance. */
  | { readonly type: 'caReferences'; readonly names: readonly string[] }

export interface ReprovisionPolicy {
  readonly updateHubAssignment: boolean
  readonly migrateDeviceData: boolean
}

export type AllocationPolicy = 'hashed' | 'geoLatency' | 'static' | 'custom'

/** One individual enrollment or enrollment group. `id` is the registration ID or the name of the group. */
export interface Enrollment {
  readonly kind: 'individual' | 'group'
  readonly id: string
  readonly attestation: Attestation
  /** Of an individual enrollment only; the registration ID when absent. */
  readonly deviceId: string | undefined
  readonly iotEdge: boolean
  readonly initialTwin: InitialTwin | undefined
  readonly provisioningStatus: 'enabled' | 'disabled'
  readonly reprovisionPolicy: ReprovisionPolicy
  readonly allocationPolicy: AllocationPolicy
  readonly iotHubs: readonly string[]
  readonly customAllocationDefinition: Readonly<Record<string, unknown>> | undefined
  /** Policy of certificate management that issues for devices of this enrollment; a preview. */
  readonly credentialPolicyName: string | undefined
  readonly etag: string
  readonly createdDateTimeUtc: string
  readonly lastUpdatedDateTimeUtc: string
}

export type EnrollmentKind = Enrollment['kind']

/**
 * `ifMatch` is the header If-Match: absent creates, `*` or an etag updates.
 *
 * @throws ServiceError 400004 for what is no enrollment, 404201 unknown, 409201 exists already, 412001 another etag
 */
export interface EnrollmentStore {
  put(kind: EnrollmentKind, id: string, body: unknown, ifMatch?: string): Enrollment
  get(kind: EnrollmentKind, id: string): Enrollment | undefined
  remove(kind: EnrollmentKind, id: string, ifMatch?: string): void
  all(kind: EnrollmentKind): readonly Enrollment[]
  /** Certificates of the instance, which groups name as `caReferences`. Only a verified one attests. */
  putAuthority(name: string, certificate: X509Certificate, isVerified?: boolean): void
  /** The authorities that attest through this group now. */
  authoritiesOf(enrollment: Enrollment): readonly X509Certificate[]
}

export function createEnrollmentStore(linkedHubs: readonly string[], now: () => number): EnrollmentStore {
  const stores = { individual: new Map<string, Enrollment>(), group: new Map<string, Enrollment>() }
  const authorities = new Map<string, { certificate: X509Certificate; isVerified: boolean }>()
  const every = () => [...stores.individual.values(), ...stores.group.values()]

  const find = (kind: EnrollmentKind, id: string): Enrollment => {
    const found = stores[kind].get(id.toLowerCase())
    if (found === undefined) throw new ServiceError(404201, 'Enrollment not found.')
    return found
  }

  return {
    put(kind, id, body, ifMatch) {
      const present = stores[kind].get(id.toLowerCase())
      if (present === undefined && ifMatch !== undefined) throw new ServiceError(404201, 'Enrollment not found.')
      if (present !== undefined && ifMatch === undefined)
        throw new ServiceError(409201, 'Enrollment already exists; send its etag to update it.')
      if (present !== undefined) assertEtag(ifMatch, present.etag)
      const parsed = parseEnrollment({ kind, id, body, present, linkedHubs })
      if (!parsed.ok) throw new ServiceError(400004, parsed.problem)
      assertFreeCertificates(parsed.value, every())
      const stamp = dateTimeUtc(now())
      const enrollment: Enrollment = {
        ...parsed.value,
        etag: makeEtag(),
        createdDateTimeUtc: present?.createdDateTimeUtc ?? stamp,
        lastUpdatedDateTimeUtc: stamp,
      }
      stores[kind].set(id.toLowerCase(), enrollment)
      return enrollment
    },
    get: (kind, id) => stores[kind].get(id.toLowerCase()),
    remove(kind, id, ifMatch) {
      assertEtag(ifMatch, find(kind, id).etag)
      stores[kind].delete(id.toLowerCase())
    },
    all: (kind) => [...stores[kind].values()],
    putAuthority(name, certificate, isVerified = true) {
      authorities.set(name, { certificate, isVerified })
    },
    authoritiesOf({ attestation }) {
      if (attestation.type === 'x509') return attestation.certificates.map((enrolled) => enrolled.certificate)
      if (attestation.type !== 'caReferences') return []
      const named = attestation.names.map((name) => authorities.get(name))
      return named.flatMap((authority) => (authority?.isVerified === true ? [authority.certificate] : []))
    },
  }
}

/** A certificate may appear in only one enrollment. */
function assertFreeCertificates(enrollment: Omit<Enrollment, Stamps>, others: readonly Enrollment[]): void {
  const taken = others.filter((other) => other.kind !== enrollment.kind || !isSameId(other.id, enrollment.id))
  for (const certificate of certificatesOf(enrollment.attestation)) {
    const owner = taken.find((other) =>
      certificatesOf(other.attestation).some((present) => present.fingerprint256 === certificate.fingerprint256),
    )
    if (owner !== undefined)
      throw new ServiceError(409203, `The certificate belongs to the ${owner.kind} enrollment ${owner.id} already.`)
  }
}

type Stamps = 'etag' | 'createdDateTimeUtc' | 'lastUpdatedDateTimeUtc'

function certificatesOf(attestation: Attestation): readonly X509Certificate[] {
  return attestation.type === 'x509' ? attestation.certificates.map((enrolled) => enrolled.certificate) : []
}

function isSameId(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}
