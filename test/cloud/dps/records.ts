/** The registration records of one DPS instance, and the operations that lead to them. */
import { ServiceError } from '../model.ts'
import { assertEtag } from './etag.ts'
import { makeOperationId } from './wording.ts'

export type Substatus =
  | 'initialAssignment'
  | 'deviceDataMigrated'
  | 'deviceDataReset'
  | 'reprovisionedToInitialAssignment'

/** What a registration led to, in the words of the REST API. */
export interface RegistrationState {
  readonly registrationId: string
  readonly createdDateTimeUtc: string
  readonly lastUpdatedDateTimeUtc: string
  readonly status: 'unassigned' | 'assigning' | 'assigned' | 'failed' | 'disabled'
  readonly substatus?: Substatus
  readonly assignedHub?: string
  readonly deviceId?: string
  readonly errorCode?: number
  readonly errorMessage?: string
  readonly etag: string
  readonly payload?: unknown
  readonly x509?: Readonly<Record<string, unknown>>
  readonly symmetricKey?: Readonly<Record<string, unknown>>
  /** Base64 of DER, leaf first; in the answer to the device only. */
  readonly issuedCertificateChain?: readonly string[]
  readonly connectionProfile?: 'classic' | 'mqttV5'
}

/** One device that has been assigned. */
export interface RegistrationRecord {
  readonly enrollment: { readonly kind: 'individual' | 'group'; readonly id: string }
  /** Host of the hub, also where the answer names it differently. */
  readonly hub: string
  readonly deviceId: string
  /** What the device attested with last, as a fingerprint, and when (wall time in milliseconds). */
  readonly attested: { readonly fingerprint: string; readonly atMs: number }
  readonly state: RegistrationState
}

/** What an operation ended with: a state for the final 200, or a refusal. */
export type Outcome =
  | { readonly ended: 'state'; readonly state: RegistrationState }
  | { readonly ended: 'refused'; readonly errorCode: number; readonly message: string }

/** One registration that is under way or done. */
export interface Operation {
  readonly operationId: string
  readonly registrationId: string
  pollsLeft: number
  /** Undefined while it is assigned. */
  outcome: Outcome | undefined
}

export interface Records {
  get(registrationId: string): RegistrationRecord | undefined
  put(registrationId: string, record: RegistrationRecord): void
  /** @throws ServiceError 404202 unknown, 412001 another etag */
  remove(registrationId: string, ifMatch?: string): void
  all(): readonly RegistrationRecord[]
  begin(registrationId: string, polls: number): Operation
  /** Undefined when it is unknown or another device's. */
  operation(operationId: string, registrationId: string): Operation | undefined
}

/** Operations that are remembered; the oldest is forgotten first. */
const MAX_OPERATIONS = 10_000

export function createRecords(): Records {
  const records = new Map<string, RegistrationRecord>()
  const operations = new Map<string, Operation>()
  return {
    get: (registrationId) => records.get(registrationId.toLowerCase()),
    put: (registrationId, record) => records.set(registrationId.toLowerCase(), record),
    remove(registrationId, ifMatch) {
      const record = records.get(registrationId.toLowerCase())
      if (record === undefined) throw new ServiceError(404202, 'Device registration not found.')
      assertEtag(ifMatch, record.state.etag)
      records.delete(registrationId.toLowerCase())
    },
    all: () => [...records.values()],
    begin(registrationId, polls) {
      const [oldest] = operations.keys()
      if (operations.size >= MAX_OPERATIONS && oldest !== undefined) operations.delete(oldest)
      const operation = { operationId: makeOperationId(), registrationId, pollsLeft: polls, outcome: undefined }
      operations.set(operation.operationId, operation)
      return operation
    },
    operation(operationId, registrationId) {
      const operation = operations.get(operationId)
      return operation?.registrationId.toLowerCase() === registrationId.toLowerCase() ? operation : undefined
    },
  }
}
