import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { makePrivateFolder, readIfThere, syncFolder, writeDurably } from '../system/files.ts'
import { isObject, parseJson } from '../system/json.ts'
import type { Lane } from './plan.ts'

/** The steps of a takeover in their order; `done` is none, but that all were taken. */
export const steps = ['copy', 'stop', 'setAside', 'configure', 'start', 'prove', 'settle', 'done'] as const

export type Step = (typeof steps)[number] | 'undo'

/** A file, folder or link that was moved out of the way: from where it belongs to where it waits. */
export interface Moved {
  readonly from: string
  readonly to: string
}

/** All that resuming or undoing a takeover needs, and no secret. Paths are those of the machine, without a root. */
export interface TakeoverRecord {
  readonly format: 1
  /** Written before the step is begun. */
  readonly step: Step
  /** The old unit. */
  readonly unit: string
  readonly lane: Lane
  readonly wasActive: boolean
  readonly moved: readonly Moved[]
  readonly configText: string
  /** Files with what the old client had. */
  readonly copies: readonly string[]
  readonly madeSecretsFolder: boolean
  /** How the service of this package was before. */
  readonly ours: { readonly enabled: boolean }
  readonly keepKey: boolean
}

export const RECORD_FOLDER = '/var/lib/iot-device-agent.import'
const NAME = 'record.json'

/** @throws Failure IMPORT_RECORD_UNREADABLE */
export async function readRecord(root: string): Promise<TakeoverRecord | undefined> {
  const path = join(root, RECORD_FOLDER, NAME)
  const text = await readIfThere(path)
  if (text === undefined) return undefined
  const value = parseJson(text)
  if (isRecord(value)) return value
  throw new Failure('IMPORT_RECORD_UNREADABLE', `${path} is of a form that is not known here`)
}

/** Durable once it has resolved; the folder is root's alone. */
export async function saveRecord(root: string, record: TakeoverRecord): Promise<void> {
  const folder = join(root, RECORD_FOLDER)
  await makePrivateFolder(folder)
  await writeDurably(join(folder, NAME), `${JSON.stringify(record, undefined, 2)}\n`)
}

/** Forgets a takeover. What was moved must be back in its place: a file that still waits here keeps the folder. */
export async function removeRecord(root: string): Promise<void> {
  const folder = join(root, RECORD_FOLDER)
  await rm(join(folder, NAME), { force: true })
  if ((await readdir(folder)).length > 0) return
  await rmdir(folder)
  await syncFolder(dirname(folder))
}

function isRecord(value: unknown): value is TakeoverRecord {
  if (!isObject(value) || value['format'] !== 1) return false
  const texts = ['step', 'unit', 'configText'].every((key) => typeof value[key] === 'string')
  const { step, unit, lane, moved, copies, ours } = value
  const isStep = step === 'undo' || steps.some((each) => each === step)
  const isUnit = typeof unit === 'string' && /^[^/]+\.service$/.test(unit)
  const isMoved = (each: unknown) => isObject(each) && isPath(each['from']) && isPath(each['to'])
  return (
    texts &&
    isStep &&
    isUnit &&
    (lane === 'x509' || lane === 'sas') &&
    isObject(ours) &&
    Array.isArray(moved) &&
    moved.every(isMoved) &&
    Array.isArray(copies) &&
    copies.every(isPath)
  )
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('/')
}
