import { isPending } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { AuthPolicy, HeldCertificate, Inventory } from '../../../agent/credential/policy.ts'
import type { Assigned } from '../../../agent/hub/supervise.ts'

/** What the device has on disk. Never changed: a write makes another disk, so that a snapshot is a reference. */
export interface Disk {
  /** The text of the record of lifecycle and memory. */
  readonly record: string | undefined
  readonly pointer: CredentialRef | undefined
  readonly assignment: Assigned | undefined
  /** Newest first. */
  readonly certificates: readonly HeldCertificate[]
  readonly hasSas: boolean
  /** True time since which a certificate is awaited. */
  readonly requestedAtMs: number | undefined
  /** Every write fails, and what was there stays. */
  readonly isFull: boolean
}

export const emptyDisk: Disk = {
  record: undefined,
  pointer: undefined,
  assignment: undefined,
  certificates: [],
  hasSas: false,
  requestedAtMs: undefined,
  isFull: false,
}

export function withCertificate(disk: Disk, certificate: HeldCertificate): Disk {
  return { ...disk, certificates: [certificate, ...disk.certificates], requestedAtMs: undefined }
}

/** The name that the next generation gets. */
export function nextGeneration({ certificates }: Disk): HeldCertificate['ref'] {
  const newest = Math.max(0, ...certificates.map(({ ref }) => Number(ref.generation.slice('gen-'.length))))
  return { lane: 'x509', generation: `gen-${String(newest + 1).padStart(4, '0')}` }
}

export function inventoryOf({ certificates, hasSas }: Disk): Inventory {
  return { certificates, sas: hasSas ? 'ready' : 'absent' }
}

/** Whether a credential is on the device and the owner lets it be used. */
export function holds(disk: Disk, ref: CredentialRef, policy: Pick<AuthPolicy, 'x509Enabled' | 'onboarding'>): boolean {
  if (ref.lane === 'sas') return disk.hasSas
  if (isPending(ref)) return policy.onboarding !== undefined && disk.hasSas
  return policy.x509Enabled && disk.certificates.some((held) => held.ref.generation === ref.generation)
}
