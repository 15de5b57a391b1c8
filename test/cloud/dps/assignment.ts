/** Carries out one attested registration: hub, identity, twin, record. Azure-protocol rules of reprovisioning. */
import type { Order } from '../adr/namespace.ts'
import type { HubRegistry, IdentityCredential, InitialTwin, Recorder } from '../model.ts'
import { ServiceError } from '../model.ts'
import type { Allocation, CustomAllocation } from './allocation.ts'
import { allocate } from './allocation.ts'
import { fingerprintOf } from './attestation.ts'
import type { Proof } from './attestation.ts'
import { certificateInfo, commonName, sha256Thumbprint } from './certificates.ts'
import type { Enrollment } from './enrollments.ts'
import type { Records, RegistrationRecord, RegistrationState, Substatus } from './records.ts'
import { dateTimeUtc, makeEtag } from './wording.ts'

export interface Registration {
  readonly registrationId: string
  readonly enrollment: Enrollment
  readonly proof: Proof
  /** From the body; handed to a custom allocation. */
  readonly payload: unknown
  /** Base64 of a PKCS#10, when the version of the device API knows it and the device sent it. */
  readonly csr: string | undefined
}

export interface Registrar {
  readonly host: string
  readonly hubs: readonly HubRegistry[]
  readonly records: Records
  readonly recorder: Recorder
  readonly now: () => number
  /** The name that a device reads for a hub; its host usually. */
  readonly assignedHost: (hub: string) => string
  readonly customAllocation: () => CustomAllocation | undefined
  /** Asked once before each write to a hub: true when the write is lost. */
  readonly losesWrite: () => boolean
  /** Issues for enrollments with a credential policy. */
  readonly issue: ((order: Order) => Promise<readonly string[]>) | undefined
  /** What becomes of a device of such an enrollment that sent no request. */
  readonly withoutRequest: () => 'classic' | 'certificateAuthority'
}

/**
 * Assigns the device and rewrites its hub identity.
 *
 * @throws ServiceError 400000 when no hub can be allocated, 400037 or 412005 when no certificate can be issued
 */
export async function assign(registrar: Registrar, registration: Registration): Promise<RegistrationState> {
  const { records, hubs, now } = registrar
  const { registrationId, enrollment, proof } = registration
  const details = proofDetails(enrollment, proof)
  const context = { registrationId, payload: registration.payload, ...details }
  const linked = hubs.map((hub) => hub.host)
  const allocation = await allocate(enrollment, context, linked, registrar.customAllocation())
  const chain = await issueChain(registrar, registration)

  // From here on without a pause, so that two registrations of one device cannot mix.
  const record = records.get(registrationId)
  const deviceId = deviceIdOf(registration, record)
  const target = chooseHub(enrollment, record, allocation)
  const credential =
    chain === undefined
      ? credentialWithoutRequest(registrar, registration)
      : ({ type: 'certificateAuthority' } as const)
  const substatus = place(registrar, registration, { deviceId, target, record, allocation, credential })
  const stamp = dateTimeUtc(now())
  const state: RegistrationState = {
    ...details,
    ...{ registrationId, deviceId, substatus, status: 'assigned', assignedHub: registrar.assignedHost(target) },
    createdDateTimeUtc: record?.state.createdDateTimeUtc ?? stamp,
    lastUpdatedDateTimeUtc: stamp,
    etag: makeEtag(),
    ...(allocation.payload === undefined ? {} : { payload: allocation.payload }),
  }
  records.put(registrationId, {
    enrollment: { kind: enrollment.kind, id: enrollment.id },
    hub: target,
    deviceId,
    attested: { fingerprint: fingerprintOf(proof), atMs: now() },
    state,
  })
  const { host, recorder } = registrar
  recorder.add({ kind: 'registered', host, registrationId, assignedHub: target, enrollment: enrollment.id })
  return chain === undefined || chain.length === 0 ? state : { ...state, issuedCertificateChain: chain }
}

/** Undefined without a request or without a policy: a request alone is ignored. */
async function issueChain(registrar: Registrar, registration: Registration): Promise<readonly string[] | undefined> {
  const { host, records, issue } = registrar
  const { registrationId, csr } = registration
  const policy = registration.enrollment.credentialPolicyName
  if (csr === undefined || policy === undefined || issue === undefined) return undefined
  const deviceId = deviceIdOf(registration, records.get(registrationId))
  return await issue({ policy, deviceId, commonName: registrationId, csr, host })
}

function credentialWithoutRequest(registrar: Registrar, { enrollment, proof }: Registration): IdentityCredential {
  const isManaged = enrollment.credentialPolicyName !== undefined && registrar.withoutRequest() !== 'classic'
  return isManaged ? { type: 'certificateAuthority' } : credentialOf(proof)
}

/** The part of a registration state that tells how the device attested. */
export function proofDetails(enrollment: Enrollment, proof: Proof): Pick<RegistrationState, 'x509' | 'symmetricKey'> {
  const group = enrollment.kind === 'group' ? { enrollmentGroupId: enrollment.id } : {}
  if (proof.type === 'symmetricKey') return { symmetricKey: group }
  const signer = proof.signer === undefined ? {} : { signingCertificateInfo: certificateInfo(proof.signer) }
  return { x509: { certificateInfo: certificateInfo(proof.leaf), ...group, ...signer } }
}

/** Section 5: keys make a `sas` identity, a third party's certificate a `selfSigned` one, both slots the same. */
export function credentialOf(proof: Proof): IdentityCredential {
  if (proof.type === 'symmetricKey')
    return { type: 'sas', primaryKey: proof.primaryKey, secondaryKey: proof.secondaryKey }
  const thumbprint = sha256Thumbprint(proof.leaf)
  return { type: 'selfSigned', primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint }
}

/** An individual enrollment may name it; in a group it is the CN, or the registration ID as the device wrote it first. */
function deviceIdOf({ enrollment, registrationId, proof }: Registration, record?: RegistrationRecord): string {
  if (enrollment.kind === 'individual') return enrollment.deviceId ?? enrollment.id
  if (record?.enrollment.kind === 'group') return record.deviceId
  return (proof.type === 'x509' ? commonName(proof.leaf) : undefined) ?? registrationId
}

/** A device keeps its hub when the policy says so. */
function chooseHub(enrollment: Enrollment, record: RegistrationRecord | undefined, allocation: Allocation): string {
  return record === undefined || enrollment.reprovisionPolicy.updateHubAssignment ? allocation.hub : record.hub
}

interface Placement {
  readonly deviceId: string
  readonly target: string
  readonly record: RegistrationRecord | undefined
  readonly allocation: Allocation
  readonly credential: IdentityCredential
}

/** Moves twin and identity where the policy asks for it, and rewrites the credential in any case. */
function place(registrar: Registrar, { enrollment }: Registration, placement: Placement): Substatus {
  const { deviceId, target, record, allocation, credential } = placement
  const find = (host: string) => registrar.hubs.find((hub) => hub.host === host)
  const hub = find(target)
  if (hub === undefined) throw new ServiceError(400000, `${target} is not linked to this provisioning service.`)
  const write: HubRegistry['assign'] = (...identity) => {
    if (!registrar.losesWrite()) hub.assign(...identity)
  }
  const initialTwin = allocation.initialTwin ?? enrollment.initialTwin
  if (record === undefined || record.hub === target) {
    write(deviceId, credential, hub.has(deviceId) ? undefined : initialTwin)
    return record === undefined ? 'initialAssignment' : 'reprovisionedToInitialAssignment'
  }
  const released = find(record.hub)?.release(record.deviceId)
  if (!enrollment.reprovisionPolicy.migrateDeviceData) {
    write(deviceId, credential, initialTwin ?? {})
    return 'deviceDataReset'
  }
  const migrated: InitialTwin | undefined =
    released === undefined ? initialTwin : { tags: released.tags, properties: { desired: released.desired } }
  write(deviceId, credential, migrated)
  return 'deviceDataMigrated'
}
