import { lstat, readdir, readlink, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { readIfThere, syncFolder } from '../system/files.ts'
import type { Takeover } from './apply.ts'
import { blocking, isThere, moveBack } from './move.ts'
import { CONFIG_FILE, SECRETS_FOLDER } from './plan.ts'
import type { Lane } from './plan.ts'
import { removeRecord, saveRecord } from './record.ts'
import type { TakeoverRecord } from './record.ts'
import { OUR_TIMER, OUR_UNIT } from './systemctl.ts'

/** Longest wait for the old service to be active. */
const ACTIVE_WITHIN_MS = 60_000
const POLL_MS = 500

/**
 * Goes back to the old client from wherever a takeover has got to; may be repeated after a power cut.
 *
 * @throws Failure IMPORT_UNDO_BLOCKED    a file of somebody else is in a place that is needed; nothing was changed
 * @throws Failure IMPORT_OLD_NOT_ACTIVE  all is back, and the old service does not come up
 * @throws Failure IMPORT_SYSTEMCTL, STATE_UNWRITABLE
 */
export async function undoTakeover(record: TakeoverRecord, parts: Takeover): Promise<void> {
  const { root, systemctl, say } = parts
  for (const piece of record.moved)
    if (await blocking(root, piece))
      throw new Failure('IMPORT_UNDO_BLOCKED', `${piece.from} is there again; move it away first`)
  await saveRecord(root, { ...record, step: 'undo' })
  await stopOurs(record, parts)
  await removeMade(record, root)
  await putBack(record, parts)
  await systemctl.daemonReload()
  await systemctl.start(record.unit)
  say(`started ${record.unit}`)
  await untilActive(record.unit, parts)
  await removeRecord(root)
}

/** Once the old unit is back under our name, that name is not ours to stop any more. */
async function stopOurs({ unit, moved, ours }: TakeoverRecord, { root, systemctl, say }: Takeover): Promise<void> {
  const [file] = moved
  if (!ours.enabled) {
    await systemctl.stop(OUR_TIMER)
    await systemctl.disable(OUR_TIMER)
  }
  if (unit === OUR_UNIT && file !== undefined && !(await isThere(join(root, file.to)))) return
  await systemctl.stop(OUR_UNIT)
  // What enables the old unit of our name must not be taken for what enables ours.
  const areAside = await Promise.all(moved.map(({ to }) => isThere(join(root, to))))
  if (!ours.enabled && (unit !== OUR_UNIT || areAside.every(Boolean))) await systemctl.disable(OUR_UNIT)
  say(`stopped ${OUR_UNIT}`)
}

async function removeMade({ copies, madeSecretsFolder }: TakeoverRecord, root: string): Promise<void> {
  for (const path of [CONFIG_FILE, ...copies]) {
    if (!(await isThere(join(root, path)))) continue
    await rm(join(root, path))
    await syncFolder(dirname(join(root, path)))
  }
  const folder = join(root, SECRETS_FOLDER)
  if (madeSecretsFolder && (await isThere(folder)) && (await readdir(folder)).length === 0) await rmdir(folder)
}

async function putBack({ unit, moved }: TakeoverRecord, { root, systemctl, say }: Takeover): Promise<void> {
  if (await isMasked(join(root, '/etc/systemd/system', unit))) await systemctl.unmask(unit)
  for (const piece of moved) {
    await moveBack(root, piece)
    say(`${piece.from} is back`)
  }
}

async function isMasked(path: string): Promise<boolean> {
  return (await isThere(path)) && (await lstat(path)).isSymbolicLink() && (await readlink(path)) === '/dev/null'
}

async function untilActive(unit: string, { systemctl, clock, say }: Takeover): Promise<void> {
  const untilMs = clock.monotonicMs() + ACTIVE_WITHIN_MS
  while (!(await systemctl.isActive(unit))) {
    if (clock.monotonicMs() >= untilMs)
      throw new Failure('IMPORT_OLD_NOT_ACTIVE', `${unit} is not active after ${ACTIVE_WITHIN_MS / 1000} s`)
    await clock.wait(POLL_MS)
  }
  say(`${unit} is active`)
}

const STATE_FOLDER = '/var/lib/iot-device-agent'

/**
 * Refuses to go back while the device is on another lane than the old program speaks: the hub would not take it.
 *
 * @throws Failure IMPORT_UNDO_BLOCKED
 */
export async function requireSameLane({ lane }: TakeoverRecord, { root, agent }: Takeover): Promise<void> {
  const now = await agent.status().then(
    ({ auth }) => auth.mode,
    () => laneOnDisk(root),
  )
  if (now === undefined || now === lane) return
  const first = `sudo iot-device-agent auth ${lane} --wait`
  throw new Failure('IMPORT_UNDO_BLOCKED', `the device is on ${now} and the old program speaks ${lane}: first ${first}`)
}

/** The pointer of the vault, for an agent that does not run. */
async function laneOnDisk(root: string): Promise<Lane | undefined> {
  const pointer = (await readIfThere(join(root, STATE_FOLDER, 'credentials/active')))?.trim()
  if (pointer === undefined || pointer === '') return undefined
  return pointer === 'sas' ? 'sas' : 'x509'
}
