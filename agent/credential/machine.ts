import { Failure } from '../failure.ts'
import { machineKinds, machineWords } from '../system/machine-kind.ts'
import type { MachineIdentity, MachineKind } from '../system/machine-kind.ts'

/** Whether the state was made on the machine that it is on now. */
export type MachineVerdict =
  /** `complete` is the record with what was seen for the first time. */
  | { readonly verdict: 'same'; readonly complete: MachineIdentity }
  | { readonly verdict: 'changed'; readonly difference: MachineDifference }
  /** Record and machine have no kind in common: nothing is known, and nobody is shut out for that. */
  | { readonly verdict: 'unknown' }

/** The strongest kind that both have. */
export interface MachineDifference {
  readonly kind: MachineKind
  readonly recorded: readonly string[]
  readonly seen: readonly string[]
}

/** Most addresses that a record keeps: interfaces on USB come and go. */
const MAX_VALUES = 16

/**
 * The strongest kind that record and machine both have decides alone, and differs when no value is in common. A kind
 * that is missing on either side decides nothing: a kernel or a right may have hidden it.
 */
export function judgeMachineIdentity(recorded: MachineIdentity, seen: MachineIdentity): MachineVerdict {
  if (machineKinds.every((kind) => recorded[kind] === undefined)) return { verdict: 'same', complete: seen }
  for (const kind of machineKinds) {
    const [before, now] = [recorded[kind], seen[kind]]
    if (before === undefined || now === undefined) continue
    if (before.some((value) => now.includes(value))) return { verdict: 'same', complete: united(recorded, seen) }
    return { verdict: 'changed', difference: { kind, recorded: before, seen: now } }
  }
  return { verdict: 'unknown' }
}

/** Of one machine both are true: an interface that was taken out may come back, a weaker kind may be all that is left. */
function united(recorded: MachineIdentity, seen: MachineIdentity): MachineIdentity {
  const all = machineKinds.map(
    (kind) => [kind, [...new Set([...(seen[kind] ?? []), ...(recorded[kind] ?? [])])]] as const,
  )
  return Object.fromEntries(
    all
      .filter(([, values]) => values.length > 0)
      .map(([kind, values]) => [kind, values.slice(0, MAX_VALUES).toSorted()]),
  )
}

/** The failure of an agent whose state was made on another machine. */
export function machineChanged({ kind, recorded, seen }: MachineDifference): Failure {
  const [before, now] = [recorded.join(', '), seen.join(', ')]
  const fact = `${machineWords[kind]}: ${before} where the state was made, ${now} here`
  return new Failure('MACHINE_CHANGED', fact, { context: { kind, recorded: before, seen: now } })
}
