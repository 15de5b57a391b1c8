import { join } from 'node:path'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { readIfThere, setAside, writeDurably } from '../system/files.ts'
import { isObject, parseJson } from '../system/json.ts'
import { machineKinds } from '../system/machine-kind.ts'
import type { MachineIdentity } from '../system/machine-kind.ts'

/** What the state folder says of the machine that it was made on, and how that is kept. */
export interface MachineRecord {
  /** Undefined when there is no record yet, or none that can be understood. */
  readonly identity: MachineIdentity | undefined
  /** What was set aside, to be told. */
  readonly torn: Failure | undefined
}

/**
 * Reads the record; one that is torn or of another version is set aside.
 *
 * @throws whatever the file system refuses with
 */
export async function readMachineRecord(stateDir: string, clock: Clock): Promise<MachineRecord> {
  const path = fileOf(stateDir)
  const text = await readIfThere(path)
  const identity = text === undefined ? undefined : parseMachineRecord(text)
  if (text === undefined || identity !== undefined) return { identity, torn: undefined }
  const movedTo = await setAside(path, clock.now())
  const fact = `${path} is no record of a machine of version 1; it is ${movedTo} now, and this machine is recorded anew`
  return { identity, torn: new Failure('STATE_TORN', fact, { context: { path: movedTo } }) }
}

/**
 * Replaces the record durably.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE; the old record is untouched
 */
export async function saveMachineRecord(stateDir: string, identity: MachineIdentity, clock: Clock): Promise<void> {
  const record = { version: 1, at: new Date(clock.now()).toISOString(), machine: identity }
  await writeDurably(fileOf(stateDir), `${JSON.stringify(record, undefined, 2)}\n`)
}

/** The identity in a file's text; undefined when it is torn or of another version. */
export function parseMachineRecord(text: string): MachineIdentity | undefined {
  const value = parseJson(text)
  if (!isObject(value) || value['version'] !== 1 || !isObject(value['machine'])) return undefined
  const { machine } = value
  const kinds = machineKinds.filter((kind) => machine[kind] !== undefined)
  if (!kinds.every((kind) => isValues(machine[kind]))) return undefined
  return Object.fromEntries(kinds.map((kind) => [kind, machine[kind]]))
}

function isValues(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string' && each !== '')
}

function fileOf(stateDir: string): string {
  return join(stateDir, 'machine.json')
}
