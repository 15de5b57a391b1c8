/** The operations of issueCertificate, at most one for a device: azure-protocols.md 3.3. Pure but for the identifiers it makes. */
import { randomUUID } from 'node:crypto'

/** An answer that has not reached the device. */
export interface Result {
  readonly status: number
  readonly errorCode: number
  readonly body: string
}

export interface CredentialOperation {
  readonly deviceId: string
  readonly rid: string
  readonly csr: string
  readonly correlationId: string
  readonly expiresAtMs: number
  /** Undefined while it is pending. */
  result: Result | undefined
  /** Sent, and not lost on the way as far as is known. */
  isSent: boolean
}

export type Begun =
  | { readonly outcome: 'new' | 'again'; readonly operation: CredentialOperation }
  | { readonly outcome: 'conflict'; readonly operation: CredentialOperation }
  | { readonly outcome: 'nothingToReplace' }

export interface Wanted {
  readonly deviceId: string
  readonly rid: string
  readonly csr: string
  readonly replace: string | undefined
}

export interface CredentialOperations {
  /** The same request under the same $rid is the same operation, whatever it says of replacing. */
  begin(wanted: Wanted, expiresAtMs: number): Begun
  /** Pending, or ended and remembered until it expires. */
  of(deviceId: string): CredentialOperation | undefined
  /** False once it was replaced or forgotten, or has expired. */
  isCurrent(operation: CredentialOperation): boolean
  forget(deviceId: string): void
}

export function createCredentialOperations(now: () => number): CredentialOperations {
  const operations = new Map<string, CredentialOperation>()

  const of = (deviceId: string) => {
    const operation = operations.get(deviceId)
    if (operation === undefined || operation.expiresAtMs > now()) return operation
    operations.delete(deviceId)
    return undefined
  }

  return {
    of,
    begin({ deviceId, rid, csr, replace }, expiresAtMs) {
      const present = of(deviceId)
      if (present?.rid === rid && present.csr === csr) return { outcome: 'again', operation: present }
      const pending = present?.result === undefined ? present : undefined
      if (replace !== undefined && replace !== '*' && replace !== pending?.rid) return { outcome: 'nothingToReplace' }
      if (pending !== undefined && replace === undefined) return { outcome: 'conflict', operation: pending }
      const correlationId = randomUUID()
      const operation = { deviceId, rid, csr, correlationId, expiresAtMs, result: undefined, isSent: false }
      operations.set(deviceId, operation)
      return { outcome: 'new', operation }
    },
    isCurrent: (operation) => of(operation.deviceId) === operation,
    forget: (deviceId) => void operations.delete(deviceId),
  }
}
