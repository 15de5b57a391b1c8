import { chmod, chown, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { PRIVATE_FOLDER, syncFolder, writeDurably } from '../system/files.ts'
import { isThere, moveAside, piecesOf } from './move.ts'
import { agentUser } from './owner.ts'
import { CONFIG_FILE, SECRETS_FOLDER } from './plan.ts'
import type { Copy, Plan } from './plan.ts'
import { prove } from './prove.ts'
import type { RunningAgent } from './prove.ts'
import { saveRecord, steps } from './record.ts'
import type { Step, TakeoverRecord } from './record.ts'
import { OUR_TIMER, OUR_UNIT } from './systemctl.ts'
import type { Systemctl } from './systemctl.ts'
import { undoTakeover } from './undo.ts'

/** What a takeover acts on and tells. */
export interface Takeover {
  /** The folder that the machine's paths are below; `/` outside of tests. */
  readonly root: string
  readonly systemctl: Systemctl
  readonly agent: RunningAgent
  readonly clock: Clock
  /** How long the new agent may take to prove itself. */
  readonly waitMs: number
  /** One line for whoever watches, without secrets. */
  readonly say: (line: string) => void
  /** Told of each step once its record is durable and before it is taken. */
  readonly onSaved?: (step: Step) => Promise<void>
}

/** The record of a takeover that is about to begin. @throws Failure IMPORT_NOT_POSSIBLE no user for the agent */
export async function newRecord(plan: Plan, keepKey: boolean, { root, systemctl }: Takeover): Promise<TakeoverRecord> {
  await agentUser(root)
  const unit = plan.client.name
  return {
    ...{ format: 1, step: 'copy', unit, lane: plan.lane, keepKey, configText: plan.configText },
    wasActive: await systemctl.isActive(unit),
    moved: await piecesOf(root, unit),
    copies: plan.copies.map(({ path }) => path),
    madeSecretsFolder: !(await isThere(join(root, SECRETS_FOLDER))),
    ours: { enabled: unit !== OUR_UNIT && (await systemctl.isEnabled(OUR_UNIT)) },
  }
}

/**
 * Takes over, from the step of the record on; every step may be taken again. What fails is undone, so that the old
 * client runs again.
 *
 * @param copies for the step `copy` only: later ones need nothing of the old client
 * @throws Failure IMPORT_NOT_PROVEN, and whatever else a step failed with, after the way back
 */
export async function takeOver(
  record: TakeoverRecord,
  copies: readonly Copy[],
  parts: Takeover,
): Promise<TakeoverRecord> {
  try {
    return await takeSteps(record, copies, parts)
  } catch (error) {
    const failure = asFailure(error)
    parts.say('going back: the old client is put in its place again')
    await undoTakeover(record, parts).catch((cause: unknown) => {
      const { code, message } = asFailure(cause)
      throw new Failure(code, `${message}; it had to go back because of ${failure.code}: ${failure.message}`, { cause })
    })
    throw failure
  }
}

/** As `takeOver` without the way back: what a power cut leaves is a record of the step that was begun. */
export async function takeSteps(
  record: TakeoverRecord,
  copies: readonly Copy[],
  parts: Takeover,
): Promise<TakeoverRecord> {
  let now = record
  for (const step of steps.slice(firstStep(record.step))) {
    now = { ...now, step }
    await saveRecord(parts.root, now)
    await parts.onSaved?.(step)
    if (step !== 'done') await actions[step](now, parts, copies)
  }
  return now
}

/** After a power cut the machine has booted, and what was stopped may run again. What was proved stays proved. */
function firstStep(step: Step): number {
  const again = step === 'copy' || step === 'settle' || step === 'done' ? step : 'stop'
  return steps.indexOf(again)
}

type Action = (record: TakeoverRecord, parts: Takeover, copies: readonly Copy[]) => Promise<void>

const actions: Readonly<Record<Exclude<(typeof steps)[number], 'done'>, Action>> = {
  async copy(_, { root, say }, copies) {
    await makeSecretsFolder(root)
    const { uid, gid } = await agentUser(root)
    for (const { path, content, where } of copies) {
      await writeDurably(join(root, path), content)
      await chown(join(root, path), uid, gid)
      say(`copied ${where} to ${path}`)
    }
    await syncFolder(join(root, SECRETS_FOLDER))
  },
  async stop({ unit, moved }, { root, systemctl, say }) {
    // Ours would begin as soon as its configuration is there, and the hub takes one connection.
    await systemctl.stop(OUR_UNIT)
    const [file] = moved
    if (unit !== OUR_UNIT && (file === undefined || (await isThere(join(root, file.from))))) await systemctl.stop(unit)
    say(`stopped ${unit}`)
  },
  async setAside({ moved }, { root, systemctl, say }) {
    for (const piece of moved) await moveAside(root, piece)
    await systemctl.daemonReload()
    for (const { from, to } of moved) say(`moved ${from} to ${to}`)
  },
  async configure({ configText }, { root, say }) {
    await mkdir(join(root, dirname(CONFIG_FILE)), { recursive: true, mode: 0o755 })
    await writeDurably(join(root, CONFIG_FILE), configText, 0o644)
    say(`wrote ${CONFIG_FILE}`)
  },
  async start(_, { systemctl, say }) {
    await systemctl.unmask(OUR_UNIT)
    await systemctl.start(OUR_UNIT)
    say(`started ${OUR_UNIT}`)
  },
  async prove({ lane }, { agent, clock, waitMs, say }) {
    say(`waiting until it is connected by ${lane} and a message is acknowledged, at most ${waitMs / 1000} s`)
    const verdict = await prove({ agent, clock, lane, withinMs: waitMs })
    if (verdict.proven) return
    const fact = `${verdict.code}: ${verdict.reason} (${verdict.advice})`
    throw new Failure('IMPORT_NOT_PROVEN', fact, { context: { code: verdict.code } })
  },
  async settle({ unit }, { systemctl, say }) {
    say('proven: the new agent is connected and a message was acknowledged')
    if (unit !== OUR_UNIT) await systemctl.mask(unit)
    await systemctl.enable(OUR_UNIT)
    // The package enables neither beside an older client of the same name.
    await systemctl.enable(OUR_TIMER)
    await systemctl.start(OUR_TIMER)
  },
}

async function makeSecretsFolder(root: string): Promise<void> {
  const folder = join(root, SECRETS_FOLDER)
  const { uid, gid } = await agentUser(root)
  await mkdir(dirname(folder), { recursive: true, mode: 0o755 })
  await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER })
  await chmod(folder, PRIVATE_FOLDER)
  await chown(folder, uid, gid)
  await syncFolder(dirname(folder))
}
