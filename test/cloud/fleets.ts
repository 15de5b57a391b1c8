/** The enrollment groups of a fleet, each in one call: what an operator does in the portal. */
import { randomBytes } from 'node:crypto'
import { chmod, writeFile } from 'node:fs/promises'
import { showAttestation, showEnrollment } from './dps/enrollment-form.ts'
import type { Enrollment, EnrollmentStore } from './dps/enrollments.ts'
import { deriveDeviceKey } from './sas.ts'

/** A symmetric-key enrollment group, with what only its operator knows. */
export interface SasFleet {
  readonly enrollment: Enrollment
  /** Base64; never for a device. */
  readonly groupKey: string
  /** The key of one device, base64. */
  deriveKey(registrationId: string): string
  /** Writes the key of one device as the agent wants it: one line, mode 0600. The path comes back. */
  writeKey(path: string, registrationId: string): Promise<string>
}

type More = Readonly<Record<string, unknown>>

export interface Fleets {
  /**
   * Makes or replaces an X.509 enrollment group whose signing certificate is the authority's intermediate. `more` is laid over
   * the group as the REST API takes it, as `{ provisioningStatus: 'disabled' }`.
   */
  enrollFleet(groupId?: string, more?: More): Enrollment
  /** Makes a symmetric-key enrollment group, or replaces it and its keys. */
  enrollSasFleet(groupId?: string, more?: More): SasFleet
  /** @throws ServiceError 404201 for a group that does not exist, as the two below */
  disableGroup(groupId: string): void
  enableGroup(groupId: string): void
  /** Its devices stay as they are until they register again. */
  deleteGroup(groupId: string): void
}

export function createFleets(enrollments: EnrollmentStore, intermediatePem: string): Fleets {
  const put = (groupId: string, attestation: unknown, more: More) => {
    const present = enrollments.get('group', groupId)
    return enrollments.put('group', groupId, { attestation, ...more }, present === undefined ? undefined : '*')
  }
  const setStatus = (groupId: string, provisioningStatus: Enrollment['provisioningStatus']) => {
    const present = enrollments.get('group', groupId)
    const shown = present && {
      ...showEnrollment(present),
      attestation: showAttestation('group', present.attestation, true),
    }
    enrollments.put('group', groupId, { ...shown, provisioningStatus }, '*')
  }

  return {
    enrollFleet(groupId = 'fleet-x509', more = {}) {
      const signingCertificates = { primary: { certificate: intermediatePem } }
      return put(groupId, { type: 'x509', x509: { signingCertificates } }, more)
    },
    enrollSasFleet(groupId = 'fleet-sas', more = {}) {
      // As long as the keys that the portal makes.
      const [primaryKey, secondaryKey] = [randomBytes(64), randomBytes(64)].map((bytes) => bytes.toString('base64'))
      const symmetricKey = { primaryKey, secondaryKey }
      return sasFleet(put(groupId, { type: 'symmetricKey', symmetricKey }, more))
    },
    disableGroup: (groupId) => setStatus(groupId, 'disabled'),
    enableGroup: (groupId) => setStatus(groupId, 'enabled'),
    deleteGroup: (groupId) => enrollments.remove('group', groupId),
  }
}

function sasFleet(enrollment: Enrollment): SasFleet {
  const { attestation } = enrollment
  if (attestation.type !== 'symmetricKey') throw new TypeError(`${enrollment.id} is no group of keys`)
  const deriveKey = (registrationId: string) => deriveDeviceKey(attestation.primaryKey, registrationId)
  return {
    ...{ enrollment, groupKey: attestation.primaryKey, deriveKey },
    async writeKey(path, registrationId) {
      await writeFile(path, `${deriveKey(registrationId)}\n`, { mode: 0o600 })
      // The mode above counts for a new file only.
      await chmod(path, 0o600)
      return path
    },
  }
}
