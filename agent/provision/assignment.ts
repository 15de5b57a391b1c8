import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode, readIfThere, setAside, syncFolder, writeDurably } from '../system/files.ts'
import { isObject, parseJson } from '../system/json.ts'
import { parseAddress } from '../wire/address.ts'
import type { Assignment } from './answer.ts'

/** For whom an assignment was made: when any of it changes in the configuration, the assignment is another device's. */
export interface AssignmentOwner {
  readonly dpsHost: string
  readonly idScope: string
  readonly registrationId: string
}

/** The file `assignment.json`. Unknown versions are set aside. */
export interface AssignmentRecord extends AssignmentOwner {
  readonly version: 1
  readonly assignedHub: string
  readonly deviceId: string
  /** Wall time of the registration, ISO 8601. */
  readonly at: string
}

export type CachedAssignment =
  | { readonly found: 'ours'; readonly record: AssignmentRecord }
  | { readonly found: 'nothing' }
  /** Another DPS, scope or registration ID; the file stays until the next registration replaces it. */
  | { readonly found: 'foreign'; readonly record: AssignmentRecord }
  /** Unreadable: moved to `movedTo`, or still in place when even that failed. */
  | { readonly found: 'torn'; readonly reason: string; readonly movedTo: string | undefined }

/** Reads the last assignment. Never throws: without one the device registers, which is always possible. */
export async function readAssignment(path: string, owner: AssignmentOwner, nowMs: number): Promise<CachedAssignment> {
  const text = await readIfThere(path).catch((error: unknown) => (error instanceof Error ? error : new Error()))
  if (text === undefined) return { found: 'nothing' }
  if (text instanceof Error) return { found: 'torn', reason: errorCode(text) ?? text.message, movedTo: undefined }
  const record = parseAssignment(text)
  if (record !== undefined) return { found: isOwnedBy(record, owner) ? 'ours' : 'foreign', record }
  // Where it cannot be moved, it stays: the caller tells so, and the next registration replaces it.
  const movedTo = await setAside(path, nowMs).catch(() => undefined)
  return { found: 'torn', reason: 'not an assignment of version 1', movedTo }
}

/**
 * Replaces the assignment durably.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE; the old content is untouched
 */
export async function saveAssignment(
  path: string,
  owner: AssignmentOwner,
  assignment: Pick<Assignment, 'assignedHub' | 'deviceId'>,
  nowMs: number,
): Promise<void> {
  const record: AssignmentRecord = {
    version: 1,
    dpsHost: owner.dpsHost,
    idScope: owner.idScope,
    registrationId: owner.registrationId,
    assignedHub: assignment.assignedHub,
    deviceId: assignment.deviceId,
    at: new Date(nowMs).toISOString(),
  }
  await writeDurably(path, `${JSON.stringify(record, undefined, 2)}\n`)
}

/** Removes the assignment, so that the next start registers. No file is fine. */
export async function forgetAssignment(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
}

/** The record in a file's text, or undefined when it is torn, of another version or not usable. */
export function parseAssignment(text: string): AssignmentRecord | undefined {
  const value = parseJson(text)
  if (!isObject(value)) return undefined
  const { version, dpsHost, idScope, registrationId, assignedHub, deviceId, at } = value
  if (version !== 1) return undefined
  if (!isText(dpsHost) || !isText(idScope) || !isText(registrationId)) return undefined
  if (!isText(assignedHub) || !isText(deviceId) || !isText(at)) return undefined
  if (parseAddress(assignedHub) === undefined) return undefined
  return { version, dpsHost, idScope, registrationId, assignedHub, deviceId, at }
}

function isOwnedBy(record: AssignmentRecord, owner: AssignmentOwner): boolean {
  return (
    record.dpsHost === owner.dpsHost &&
    record.idScope === owner.idScope &&
    record.registrationId === owner.registrationId
  )
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
