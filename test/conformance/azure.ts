/**
 * The stand-in under Azure's own names and ports, as unmodified clients look for them, and the official service packages to set
 * it up. Works only inside the namespace that `in-namespace` makes.
 */
import { randomUUID, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterEach } from 'node:test'
import tls from 'node:tls'

import iotHub from 'azure-iothub'
import provisioningService from 'azure-iot-provisioning-service'

import type { DeviceCredential } from '../cloud/authority.ts'
import { startCloud } from '../cloud/cloud.ts'
import type { Faults } from '../cloud/faults.ts'
import type { Hub, Telemetry } from '../cloud/model.ts'
import type { RecordedEvent } from '../cloud/record.ts'
import type { Authority } from '../kit/openssl.ts'
import { deviceAuthority, type DeviceAuthority } from './device-authority.ts'

/** The name that all clients know DPS by. */
export const DPS = 'global.azure-devices-provisioning.net'
/** The name that this instance has of its own, for its service side. */
export const DPS_INSTANCE = 'dps-1.azure-devices-provisioning.net'
export const HUBS = ['hub-1.azure-devices.net', 'hub-2.azure-devices.net'] as const
export const ID_SCOPE = '0ne00000001'

export interface GroupOptions {
  readonly provisioningStatus?: 'enabled' | 'disabled'
  readonly initialTwin?: object
  /** The group's own; an X.509 attestation by an intermediate of its own when left out. */
  readonly attestation?: AttestationMechanism
}

/** Types of the registry's JSON; the package's own leave the type out. */
export interface Authentication {
  readonly type: string
  readonly symmetricKey: { readonly primaryKey: string | null; readonly secondaryKey: string | null }
  readonly x509Thumbprint: { readonly primaryThumbprint: string | null; readonly secondaryThumbprint: string | null }
}

export interface Group {
  readonly enrollmentGroupId: string
  readonly authority: DeviceAuthority
  setStatus(status: 'enabled' | 'disabled'): Promise<void>
}

export interface KeyDevice {
  readonly deviceId: string
  readonly primaryKey: string
  readonly connectionString: string
}

type Registry = InstanceType<typeof iotHub.Registry>
type ServiceClient = InstanceType<typeof iotHub.Client>
type Enrollments = InstanceType<typeof provisioningService.ProvisioningServiceClient>
export type IndividualEnrollment = Parameters<Enrollments['createOrUpdateIndividualEnrollment']>[0]
type EnrollmentGroup = Parameters<Enrollments['createOrUpdateEnrollmentGroup']>[0]
export type AttestationMechanism = EnrollmentGroup['attestation']

export interface Azure extends AsyncDisposable {
  /** The first hub, which takes every registration of `enrollGroup`. */
  readonly hubHost: string
  readonly hub: Hub
  /** What clients trust (PEM file). */
  readonly caFile: string
  readonly faults: Faults
  /** An authority that no enrollment names. */
  readonly authority: DeviceAuthority
  readonly registry: Registry
  readonly methods: ServiceClient
  readonly enrollments: Enrollments
  /** Connection string of the hub's owner and of the DPS owner, for clients of one's own. */
  readonly hubString: string
  hubStringOf(policy: string): string
  readonly dpsString: string
  /** As the official registry client reads it. */
  authentication(deviceId: string): Promise<Authentication>
  /** Enables or disables an identity of the first hub. */
  setStatus(deviceId: string, status: 'enabled' | 'disabled'): Promise<void>
  /** Creates or replaces an individual enrollment on the first hub. */
  enroll(registrationId: string, attestation: AttestationMechanism, more?: { readonly deviceId: string }): Promise<void>
  /** A name that nothing had before. */
  newId(): string
  newDevice(): Promise<KeyDevice>
  newCertificateDevice(): Promise<{ readonly deviceId: string; readonly credential: DeviceCredential }>
  /** An enrollment group whose signing certificate is an intermediate of its own. */
  enrollGroup(options?: GroupOptions): Promise<Group>
  /** The message of this device with this message ID, past or future. */
  telemetry(deviceId: string, messageId: string): Promise<Telemetry>
  /** The first `count` messages of this device, past or future. */
  messages(deviceId: string, count: number): Promise<readonly Telemetry[]>
  /** Message IDs of everything that arrives from this device, until the end of the block. */
  collectMessageIds(deviceId: string): Disposable & { readonly ids: ReadonlySet<string> }
  /** The first connection of this device after `since`, past or future. */
  connection(deviceId: string, since?: number): Promise<RecordedEvent>
  /** The first end of a connection of this device, with its reason. */
  disconnection(deviceId: string): Promise<{ readonly reason: string }>
  /** The first refusal of this client with such a reason. */
  refusal(clientId: string, reason: RegExp): Promise<RecordedEvent>
  /** The first registration that DPS took from this device. */
  registration(registrationId: string): Promise<RecordedEvent>
}

/** Opens the stand-in on 8883 and 443; after each test of the file its faults are off again and DPS answers without a wait. */
export async function openAzure(): Promise<Azure> {
  const cloud = await startCloud({
    ...{ port: 8883, httpsPort: 443, dpsHost: DPS_INSTANCE, hubHosts: HUBS, idScope: ID_SCOPE },
    aliases: { [DPS]: DPS_INSTANCE },
  })
  tls.setDefaultCACertificates([await readFile(cloud.caFile, 'utf8')])
  const quick = () => {
    cloud.faults.reset()
    cloud.faults.set('retryAfterSeconds', 0)
  }
  quick()
  afterEach(quick)

  const { hub, authority } = cloud
  /** The first event that fits, past or future; a busy machine starts slowly. */
  const waitFor = (fits: (event: RecordedEvent) => boolean, since = 0) =>
    cloud.record.waitFor(fits, { since, withinMs: 20_000 })
  const hubStringOf = (policy: string) => cloud.connectionString(hub.host, policy)
  const hubString = hubStringOf('iothubowner')
  const dpsString = cloud.connectionString(DPS_INSTANCE)
  const registry = iotHub.Registry.fromConnectionString(hubString)
  const enrollments = provisioningService.ProvisioningServiceClient.fromConnectionString(dpsString)
  const authorityOf = (signer: Authority) => deviceAuthority(authority.folder, signer)

  return {
    ...{
      hubHost: hub.host,
      hub,
      caFile: cloud.caFile,
      faults: cloud.faults,
      authority: authorityOf(authority.intermediate),
    },
    ...{ registry, enrollments, hubString, hubStringOf, dpsString, newId },
    methods: iotHub.Client.fromConnectionString(hubString),
    async newDevice() {
      const deviceId = newId()
      const { responseBody } = await registry.create({ deviceId })
      const primaryKey = responseBody.authentication?.symmetricKey?.primaryKey ?? ''
      const connectionString = `HostName=${hub.host};DeviceId=${deviceId};SharedAccessKey=${primaryKey}`
      return { deviceId, primaryKey, connectionString }
    },
    async newCertificateDevice() {
      const deviceId = newId()
      const credential = await authorityOf(authority.intermediate).makeDevice(deviceId)
      const primaryThumbprint = new X509Certificate(credential.leafPem).fingerprint.replaceAll(':', '')
      await registry.create({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } } })
      return { deviceId, credential }
    },
    async authentication(deviceId) {
      return (await registry.get(deviceId)).responseBody.authentication as unknown as Authentication
    },
    async setStatus(deviceId, status) {
      const { authentication } = (await registry.get(deviceId)).responseBody
      await registry.update({ deviceId, status, ...(authentication === undefined ? {} : { authentication }) })
    },
    async enroll(registrationId, attestation, more) {
      // The package's type wants members that only the service writes.
      const enrollment = {
        registrationId,
        attestation,
        iotHubs: [hub.host],
        ...more,
      } as unknown as IndividualEnrollment
      await enrollments.createOrUpdateIndividualEnrollment(enrollment)
    },
    async enrollGroup({ provisioningStatus = 'enabled', initialTwin, attestation } = {}) {
      const enrollmentGroupId = newId()
      const signer = authorityOf(await authority.root.makeIntermediate(enrollmentGroupId))
      const group = {
        ...{ enrollmentGroupId, provisioningStatus, iotHubs: [hub.host] },
        attestation: attestation ?? {
          type: 'x509',
          x509: { signingCertificates: { primary: { certificate: signer.certificatePem } } },
        },
        ...(initialTwin === undefined ? {} : { initialTwin }),
      } as EnrollmentGroup
      await enrollments.createOrUpdateEnrollmentGroup(group)
      return {
        enrollmentGroupId,
        authority: signer,
        async setStatus(status) {
          const { responseBody: present } = await enrollments.getEnrollmentGroup(enrollmentGroupId)
          await enrollments.createOrUpdateEnrollmentGroup({ ...present, provisioningStatus: status })
        },
      }
    },
    async telemetry(deviceId, messageId) {
      const event = await waitFor(
        (seen) =>
          seen.kind === 'telemetry' &&
          seen.message.deviceId === deviceId &&
          seen.message.system['message-id'] === messageId,
      )
      if (event.kind !== 'telemetry') throw new TypeError('not telemetry')
      return event.message
    },
    async messages(deviceId, count) {
      const found: Telemetry[] = []
      let since = 0
      while (found.length < count) {
        const fits = (event: RecordedEvent) => event.kind === 'telemetry' && event.message.deviceId === deviceId
        const event = await waitFor(fits, since)
        since = event.seq
        if (event.kind === 'telemetry') found.push(event.message)
      }
      return found
    },
    collectMessageIds(deviceId) {
      const ids = new Set<string>()
      const stop = cloud.record.listen((event) => {
        if (event.kind === 'telemetry' && event.message.deviceId === deviceId)
          ids.add(event.message.system['message-id'] ?? '')
      })
      return { ids, [Symbol.dispose]: stop }
    },
    connection: (deviceId, since = 0) =>
      waitFor((event) => event.kind === 'connected' && event.clientId === deviceId, since),
    async disconnection(deviceId) {
      const event = await waitFor((seen) => seen.kind === 'disconnected' && seen.clientId === deviceId)
      return { reason: 'reason' in event ? event.reason : '' }
    },
    refusal: (clientId, reason) =>
      waitFor((event) => event.kind === 'refused' && event.clientId === clientId && reason.test(event.reason)),
    registration: (registrationId) =>
      waitFor((event) => event.kind === 'registered' && event.registrationId === registrationId),
    [Symbol.asyncDispose]: () => cloud.close(),
  }
}

function newId(): string {
  return `edge-${randomUUID()}`
}
