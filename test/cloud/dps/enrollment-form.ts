/** Reads an enrollment as the REST API takes it, and writes it as the REST API shows it. */
import type { X509Certificate } from 'node:crypto'
import { randomBytes } from 'node:crypto'
import * as v from 'valibot'
import { certificateInfo, readCertificate } from './certificates.ts'
import type { Attestation, EnrolledCertificate, Enrollment, EnrollmentKind } from './enrollments.ts'
import { isRegistrationId } from './wording.ts'

const objectOf = v.record(v.string(), v.unknown())
const slot = v.nullish(v.object({ certificate: v.nullish(v.string()) }))
const slots = v.nullish(v.object({ primary: slot, secondary: slot }))

const form = v.object({
  attestation: v.object({
    type: v.picklist(['x509', 'symmetricKey']),
    symmetricKey: v.nullish(v.object({ primaryKey: v.nullish(v.string()), secondaryKey: v.nullish(v.string()) })),
    x509: v.nullish(
      v.object({
        clientCertificates: slots,
        signingCertificates: slots,
        caReferences: v.nullish(v.object({ primary: v.nullish(v.string()), secondary: v.nullish(v.string()) })),
      }),
    ),
  }),
  deviceId: v.nullish(v.string()),
  capabilities: v.nullish(v.object({ iotEdge: v.nullish(v.boolean()) })),
  initialTwin: v.nullish(
    v.object({ tags: v.nullish(objectOf), properties: v.nullish(v.object({ desired: v.nullish(objectOf) })) }),
  ),
  provisioningStatus: v.nullish(v.picklist(['enabled', 'disabled'])),
  reprovisionPolicy: v.nullish(v.object({ updateHubAssignment: v.boolean(), migrateDeviceData: v.boolean() })),
  allocationPolicy: v.nullish(v.picklist(['hashed', 'geoLatency', 'static', 'custom'])),
  iotHubs: v.nullish(v.array(v.string())),
  iotHubHostName: v.nullish(v.string()),
  customAllocationDefinition: v.nullish(objectOf),
  credentialPolicyName: v.nullish(v.string()),
})

type Form = v.InferOutput<typeof form>
type Stampless = Omit<Enrollment, 'etag' | 'createdDateTimeUtc' | 'lastUpdatedDateTimeUtc'>
type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string }

export interface EnrollmentRequest {
  readonly kind: EnrollmentKind
  readonly id: string
  readonly body: unknown
  /** The enrollment to update: it lends the keys and certificates that the body leaves out, as GET hides them. */
  readonly present: Enrollment | undefined
  readonly linkedHubs: readonly string[]
}

export function parseEnrollment({ kind, id, body, present, linkedHubs }: EnrollmentRequest): Read<Stampless> {
  if (!isRegistrationId(id)) return refuse(`${id} is no valid ID of an enrollment.`)
  const parsed = v.safeParse(form, body)
  if (!parsed.success)
    return refuse(parsed.issues.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`).join('; '))
  const wish = parsed.output
  const attestation = parseAttestation(kind, wish.attestation, present?.attestation)
  if (!attestation.ok) return attestation
  const iotHubs = [...new Set([...(wish.iotHubs ?? []), ...(wish.iotHubHostName ? [wish.iotHubHostName] : [])])]
  const unlinked = iotHubs.find((host) => !linkedHubs.includes(host))
  if (unlinked !== undefined) return refuse(`${unlinked} is not linked to this provisioning service.`)
  return {
    ok: true,
    value: {
      ...{ kind, id, iotHubs, attestation: attestation.value },
      deviceId: kind === 'individual' ? (wish.deviceId ?? undefined) : undefined,
      iotEdge: wish.capabilities?.iotEdge ?? false,
      initialTwin: initialTwinOf(wish),
      provisioningStatus: wish.provisioningStatus ?? 'enabled',
      reprovisionPolicy: wish.reprovisionPolicy ?? { updateHubAssignment: true, migrateDeviceData: true },
      allocationPolicy: wish.allocationPolicy ?? (wish.iotHubHostName ? 'static' : 'hashed'),
      customAllocationDefinition: wish.customAllocationDefinition ?? undefined,
      credentialPolicyName: wish.credentialPolicyName || undefined,
    },
  }
}

/** As GET and PUT show it: without secrets, which only `attestationMechanism` gives away. */
export function showEnrollment(enrollment: Enrollment): Record<string, unknown> {
  const { kind, id, attestation, iotEdge, ...rest } = enrollment
  return {
    ...(kind === 'group' ? { enrollmentGroupId: id } : { registrationId: id }),
    ...rest,
    ...(rest.allocationPolicy === 'static' ? { iotHubHostName: rest.iotHubs[0] } : {}),
    capabilities: { iotEdge },
    attestation: showAttestation(kind, attestation, false),
  }
}

/** The attestation, with its keys and certificates when `withSecrets`. */
export function showAttestation(
  kind: EnrollmentKind,
  attestation: Attestation,
  withSecrets: boolean,
): Record<string, unknown> {
  if (attestation.type === 'symmetricKey') {
    const { primaryKey, secondaryKey } = attestation
    return { type: 'symmetricKey', ...(withSecrets ? { symmetricKey: { primaryKey, secondaryKey } } : {}) }
  }
  if (attestation.type === 'caReferences') {
    const [primary, secondary] = attestation.names
    return { type: 'x509', x509: { caReferences: { primary, ...(secondary === undefined ? {} : { secondary }) } } }
  }
  const shown = attestation.certificates.map(({ slot: name, certificate }) => [
    name,
    { info: certificateInfo(certificate), ...(withSecrets ? { certificate: certificate.toString() } : {}) },
  ])
  return { type: 'x509', x509: { [slotsName(kind)]: Object.fromEntries(shown) as unknown } }
}

function parseAttestation(kind: EnrollmentKind, wish: Form['attestation'], present?: Attestation): Read<Attestation> {
  if (wish.type === 'symmetricKey') return parseKeys(wish.symmetricKey, present)
  const references = wish.x509?.caReferences
  if (references?.primary) {
    if (kind === 'individual') return refuse('an individual enrollment takes clientCertificates.')
    return {
      ok: true,
      value: { type: 'caReferences', names: [references.primary, references.secondary].filter(isText) },
    }
  }
  const given = wish.x509?.[slotsName(kind)]
  if (given === undefined || given === null) return refuse(`x509 lacks ${slotsName(kind)}.`)
  const certificates: EnrolledCertificate[] = []
  for (const name of ['primary', 'secondary'] as const) {
    const read = readSlot(name, given[name], present)
    if (!read.ok) return read
    if (read.value !== undefined) certificates.push({ slot: name, certificate: read.value })
  }
  return certificates.length === 0
    ? refuse('x509 has no certificate.')
    : { ok: true, value: { type: 'x509', certificates } }
}

function readSlot(
  name: EnrolledCertificate['slot'],
  given: v.InferOutput<typeof slot>,
  present: Attestation | undefined,
): Read<X509Certificate | undefined> {
  if (given === undefined || given === null) return { ok: true, value: undefined }
  if (isText(given.certificate)) {
    const certificate = readCertificate(given.certificate)
    return certificate === undefined
      ? refuse(`the ${name} certificate cannot be read.`)
      : { ok: true, value: certificate }
  }
  const kept = present?.type === 'x509' ? present.certificates.find((enrolled) => enrolled.slot === name) : undefined
  return { ok: true, value: kept?.certificate }
}

function parseKeys(wish: Form['attestation']['symmetricKey'], present: Attestation | undefined): Read<Attestation> {
  const kept = present?.type === 'symmetricKey' ? present : undefined
  const primaryKey = wish?.primaryKey || kept?.primaryKey || randomBytes(64).toString('base64')
  const secondaryKey = wish?.secondaryKey || kept?.secondaryKey || randomBytes(64).toString('base64')
  if (![primaryKey, secondaryKey].every(isKey)) return refuse('a symmetric key is the base64 of 16 to 64 bytes.')
  return { ok: true, value: { type: 'symmetricKey', primaryKey, secondaryKey } }
}

function isKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text && bytes.length >= 16 && bytes.length <= 64
}

function initialTwinOf(wish: Form): Enrollment['initialTwin'] {
  const tags = wish.initialTwin?.tags
  const desired = wish.initialTwin?.properties?.desired
  if (!tags && !desired) return undefined
  return { ...(tags ? { tags } : {}), ...(desired ? { properties: { desired } } : {}) }
}

function slotsName(kind: EnrollmentKind): 'clientCertificates' | 'signingCertificates' {
  return kind === 'group' ? 'signingCertificates' : 'clientCertificates'
}

function isText(value: string | null | undefined): value is string {
  return value !== undefined && value !== null && value !== ''
}

function refuse(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem }
}
