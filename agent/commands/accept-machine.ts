import { judgeMachineIdentity } from '../credential/machine.ts'
import { readMachineRecord, saveMachineRecord } from '../credential/machine-record.ts'
import type { Clock } from '../system/clock.ts'
import { readMachineIdentity, thisMachine } from '../system/machine-identity.ts'
import { machineKinds, machineWords } from '../system/machine-kind.ts'
import type { MachineIdentity } from '../system/machine-kind.ts'
import { printProblem, reportFailure } from './credential-command.ts'
import type { CommandEnvironment } from './credential-command.ts'
import { exitCodes } from './exit-codes.ts'

export interface AcceptMachineOptions {
  readonly stateDir: string
  readonly clock: Clock
  /** Folder with /sys and /proc, `/` when left out. */
  readonly root?: string
}

/**
 * `accept-machine`: records this machine in the place of the one that the state was made on. An agent that was held
 * looks again by itself.
 */
export function runAcceptMachine(environment: CommandEnvironment, options: AcceptMachineOptions): Promise<number> {
  return reportFailure(environment, async () => {
    const { stateDir, clock, root = thisMachine.root } = options
    // Read first: root sees more of the machine than the owner of the folder.
    const seen = readMachineIdentity({ root })
    await environment.actAsOwner(stateDir)
    const { identity: recorded, torn } = await readMachineRecord(stateDir, clock)
    if (torn !== undefined) printProblem(environment, torn.code, torn.message)
    const reason = nothingToAccept(recorded, seen)
    if (reason !== undefined) {
      environment.stdout(`Nothing to accept: ${reason}\n`)
      return exitCodes.fine
    }
    environment.stdout(comparison(recorded ?? {}, seen))
    await saveMachineRecord(stateDir, seen, clock)
    environment.stdout(ACCEPTED)
    return exitCodes.fine
  })
}

const ACCEPTED = `Accepted: keys and state belong to this machine now. An agent that was held goes on within seconds.
The other machine must not come back with them: two devices of one identity push each other off the hub.
`

/** Why all may stay as it is, as a sentence; undefined when the machine has changed. */
function nothingToAccept(recorded: MachineIdentity | undefined, seen: MachineIdentity): string | undefined {
  if (recorded === undefined) return 'no machine is recorded; the agent records this one when it starts.'
  const { verdict } = judgeMachineIdentity(recorded, seen)
  if (verdict === 'changed') return undefined
  return verdict === 'same'
    ? 'keys and state were made on this machine.'
    : 'this machine shows nothing that the record could be compared with.'
}

function comparison(recorded: MachineIdentity, seen: MachineIdentity): string {
  const rows = machineKinds
    .filter((kind) => recorded[kind] !== undefined || seen[kind] !== undefined)
    .map(
      (kind) => `  ${machineWords[kind]}\n    recorded: ${show(recorded[kind])}\n    here:     ${show(seen[kind])}\n`,
    )
  return `Keys and state were made on another machine:\n${rows.join('')}`
}

function show(values: readonly string[] | undefined): string {
  return values === undefined ? '-' : values.join(', ')
}
