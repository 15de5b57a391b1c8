import { nameOf, pendingRef } from '../../../agent/credential/credential-ref.ts'
import { parseRecord, serialiseRecord } from '../../../agent/credential/journal.ts'
import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import type { RotationPorts } from '../../../agent/credential/rotation-ports.ts'
import { Failure } from '../../../agent/failure.ts'
import { inventoryOf, nextGeneration, withCertificate } from './disk.ts'
import type { Disk } from './disk.ts'
import type { Machine } from './machine.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
export const CERTIFICATE_MS = 90 * 24 * HOUR_MS

export interface Issuing {
  /** From the request to the certificate; Infinity: never. */
  readonly certificateAfterMs: number
}

type StoragePorts = Pick<
  RotationPorts,
  'inventory' | 'load' | 'save' | 'pointer' | 'activate' | 'obtain' | 'destroySas'
>

/** The ports of the rotation that write to the disk; each write is whole or has not happened. */
export function createStorage(
  machine: Machine,
  { certificateAfterMs, policy: { onboarding } }: Issuing & { readonly policy: Pick<AuthPolicy, 'onboarding'> },
): StoragePorts {
  const disk = () => machine.world().disk

  /** One durable write, and the moments before and after it. */
  const write = (what: string, changed: (before: Disk) => Disk, mayTear = false) => {
    if (disk().isFull) throw new Failure('DISK_FULL', `${what} was not written`)
    machine.point(`before the write of ${what}`, mayTear)
    machine.change({ disk: changed(disk()) })
    machine.note(`disk: ${what}`)
    machine.point(`after the write of ${what}`)
  }

  return {
    inventory: async () => inventoryOf(disk()),
    async load() {
      const { record } = disk()
      if (record === undefined) return undefined
      const parsed = parseRecord(record)
      return parsed.ok ? parsed.value : undefined
    },
    async save(record) {
      const text = serialiseRecord(record)
      if (text === disk().record) return
      write(`the record, ${record.lifecycle.phase}`, (before) => ({ ...before, record: text }), true)
    },
    pointer: async () => disk().pointer,
    async activate(ref) {
      if (disk().pointer !== undefined && nameOf(ref) === nameOf(disk().pointer ?? ref)) return
      write(`the pointer, ${nameOf(ref)}`, (before) => ({ ...before, pointer: ref }))
    },
    async obtain(signal) {
      if (onboarding !== undefined) return pendingRef
      while (disk().isFull) await machine.clock.wait(MINUTE_MS, signal)
      const asked = machine.trueMs()
      if (disk().requestedAtMs === undefined) write('a request', (before) => ({ ...before, requestedAtMs: asked }))
      const waitMs = (disk().requestedAtMs ?? asked) + certificateAfterMs - machine.trueMs()
      await (Number.isFinite(waitMs) ? machine.clock.wait(waitMs, signal) : untilAborted(signal))
      while (disk().isFull) await machine.clock.wait(MINUTE_MS, signal)
      const nowMs = machine.trueMs()
      const ref = nextGeneration(disk())
      const certificate = { ref, notBeforeMs: nowMs - HOUR_MS, notAfterMs: nowMs + CERTIFICATE_MS }
      write(`the certificate ${ref.generation}`, (before) => withCertificate(before, certificate))
      return ref
    },
    async destroySas() {
      if (disk().hasSas) write('nothing in place of the SAS secret', (before) => ({ ...before, hasSas: false }))
      return []
    },
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.throwIfAborted()
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
