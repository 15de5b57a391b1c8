import { isDeepStrictEqual } from 'node:util'
import type { Paths } from './config/paths.ts'
import { judgeMachineIdentity, machineChanged } from './credential/machine.ts'
import { readMachineRecord, saveMachineRecord } from './credential/machine-record.ts'
import { asFailure } from './failure.ts'
import type { Failure } from './failure.ts'
import type { Clock } from './system/clock.ts'
import type { Log } from './system/log.ts'
import { readMachineIdentity, thisMachine } from './system/machine-identity.ts'

/** The surroundings of a look at the machine. */
export interface MachineWorld {
  readonly clock: Clock
  readonly log: Log
  /** Folder with /sys and /proc, `/` when left out. */
  readonly root?: string
}

/**
 * Whether the state folder, which must be there, was made on another machine than this one: then Failure
 * MACHINE_CHANGED. Else the record of the machine is made, or completed. Never throws: what cannot be read or written
 * is logged, and keeps no device from its work.
 */
export async function judgeMachine(paths: Pick<Paths, 'stateDir'>, world: MachineWorld): Promise<Failure | undefined> {
  const { clock, log, root = thisMachine.root } = world
  try {
    const seen = readMachineIdentity({ root })
    const { identity: recorded, torn } = await readMachineRecord(paths.stateDir, clock)
    if (torn !== undefined) log.failure(torn)
    const judged = judgeMachineIdentity(recorded ?? {}, seen)
    if (judged.verdict === 'changed') return machineChanged(judged.difference)
    if (judged.verdict === 'unknown') log.warn('the machine cannot be compared', { recorded, seen })
    if (judged.verdict === 'same' && !isDeepStrictEqual(judged.complete, recorded ?? {})) {
      await saveMachineRecord(paths.stateDir, judged.complete, clock)
      log.info('the machine is recorded', { machine: judged.complete })
    }
  } catch (error) {
    log.failure(asFailure(error), { event: 'the machine is not compared with its record' })
  }
  return undefined
}
