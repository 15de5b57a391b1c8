import { asFailure } from '../failure.ts'
import type { AuthRecord } from './journal.ts'
import { moveOf } from './lifecycle.ts'
import type { Lifecycle, LifecycleEvent, Move } from './lifecycle.ts'
import type { Memory } from './memory.ts'
import type { RotationPorts } from './rotation-ports.ts'

/** The record of this run: on disk first, then here. */
export interface RecordKeeper {
  now(): AuthRecord
  /** Whether the disk has refused the present record. */
  isUnsaved(): boolean
  /**
   * Takes a record over. One that the disk refuses is taken over all the same, since whatever is older on disk leads back
   * to the active credential; but before a registration it must be there, or nobody would know after a power cut that
   * there is a way to go back. False when it was not taken over.
   */
  keep(lifecycle: Lifecycle, memory: Memory, event?: LifecycleEvent): Promise<boolean>
  /** The same for the memory alone; nothing is done when it is the same object. */
  remember(memory: Memory): Promise<void>
  /** Writes the present record once more. */
  save(): Promise<void>
  /** Tells what has become of the record that the last run has left. */
  tellStart(left: AuthRecord | undefined): void
}

export function createRecordKeeper(
  first: AuthRecord,
  ports: Pick<RotationPorts, 'save' | 'onChange' | 'onTrouble'>,
): RecordKeeper {
  let record = first
  let unsaved = false

  const save = async (wanted: AuthRecord): Promise<boolean> => {
    const failure = await ports.save(wanted).then(() => undefined, asFailure)
    if (failure !== undefined && !unsaved) ports.onTrouble(failure)
    unsaved = failure !== undefined
    return !unsaved
  }
  const keep: RecordKeeper['keep'] = async (lifecycle, memory, event) => {
    const { lifecycle: before, memory: remembered } = record
    const wanted: AuthRecord = { version: 1, lifecycle, memory }
    const isKept = await save(wanted)
    if (!isKept && lifecycle.phase === 'registering') return false
    record = wanted
    ports.onChange({ record, before, remembered, ...(event && { event }), ...moveIn(lifecycle, before) })
    return true
  }
  return {
    now: () => record,
    isUnsaved: () => unsaved,
    keep,
    async remember(memory) {
      if (memory !== record.memory) await keep(record.lifecycle, memory)
    },
    async save() {
      await save(record)
    },
    tellStart(left = record) {
      const event = { event: 'restarted' } as const
      const { lifecycle: before, memory: remembered } = left
      ports.onChange({ record, before, remembered, event, ...moveIn(record.lifecycle, before) })
    },
  }
}

function moveIn(...lifecycles: readonly Lifecycle[]): { readonly move?: Move } {
  const move = lifecycles.map(moveOf).find((each) => each !== undefined)
  return move === undefined ? {} : { move }
}
