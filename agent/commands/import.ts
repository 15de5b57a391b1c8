import { getuid } from 'node:process'
import { asFailure, Failure } from '../failure.ts'
import { newRecord, takeOver } from '../takeover/apply.ts'
import type { Takeover } from '../takeover/apply.ts'
import { checkConfig } from '../takeover/check.ts'
import { findClient } from '../takeover/find.ts'
import { readPair } from '../takeover/pair.ts'
import { planImport } from '../takeover/plan.ts'
import type { Plan } from '../takeover/plan.ts'
import { readRecord } from '../takeover/record.ts'
import type { TakeoverRecord } from '../takeover/record.ts'
import { requireSameLane, undoTakeover } from '../takeover/undo.ts'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'
import { planLines, planView } from './import-text.ts'

export interface ImportOptions {
  readonly apply: boolean
  readonly undo: boolean
  /** Go back whatever lane the device is on. */
  readonly force: boolean
  /** Leave the key that came along until its first renewal. */
  readonly keepKey: boolean
  readonly json: boolean
  readonly unit?: string | undefined
}

export type ImportParts = Omit<Takeover, 'say'> & {
  /** Whether this process is root. */
  readonly isRoot: boolean
}

export function isRoot(): boolean {
  return getuid?.() === 0
}

/**
 * `import`: shows what taking over from an older client would do; with `apply` it does it, with `undo` it goes back.
 *
 * @returns exit code: 0 done, or it could be done; 1 anything else
 */
export async function runImport(io: Output, options: ImportOptions, parts: ImportParts): Promise<number> {
  const say = (line: string) => (options.json ? undefined : io.stdout(`${line}\n`))
  const takeover = { ...parts, say }
  try {
    if ((options.apply || options.undo) && !parts.isRoot)
      throw new Failure('IMPORT_NEEDS_ROOT', 'this process is not root')
    const record = await readRecord(parts.root)
    if (options.undo) return await goBack(io, record, options, takeover)
    if (record?.step === 'done') return tellDone(io, record, options)
    return options.apply ? await apply(io, record, options, takeover) : await show(io, record, options, parts)
  } catch (error) {
    return fail(io, failureOf(error, parts), options)
  }
}

async function show(
  io: Output,
  record: TakeoverRecord | undefined,
  options: ImportOptions,
  parts: ImportParts,
): Promise<number> {
  if (record !== undefined) return tellInterrupted(io, record, options)
  const plan = await makePlan(options.unit, parts)
  io.stdout(options.json ? `${JSON.stringify(planView(plan))}\n` : `${planLines(plan).join('\n')}\n`)
  return plan.problems.length === 0 ? exitCodes.fine : exitCodes.failed
}

async function makePlan(unit: string | undefined, { root, clock }: ImportParts): Promise<Plan> {
  const client = await findClient(root, unit)
  const plan = planImport(client, await readPair(root, client), clock.now())
  return { ...plan, problems: [...plan.problems, ...(await checkConfig(root, plan))] }
}

async function apply(
  io: Output,
  begun: TakeoverRecord | undefined,
  options: ImportOptions,
  takeover: Takeover & ImportParts,
): Promise<number> {
  if (begun?.step === 'undo')
    throw new Failure('IMPORT_UNDO_BLOCKED', 'a way back was begun: finish it first with --undo')
  // Before the old unit is touched everything is looked at anew; afterwards the record has all that is needed.
  const plan =
    begun === undefined || begun.step === 'copy' ? await makePlan(options.unit ?? begun?.unit, takeover) : undefined
  if (plan !== undefined && plan.problems.length > 0) {
    if (!options.json) io.stdout(`${planLines(plan).join('\n')}\n`)
    throw new Failure('IMPORT_NOT_POSSIBLE', plan.problems.map(({ problem }) => problem).join(' '))
  }
  const record = plan === undefined ? begun : await newRecord(plan, options.keepKey, takeover)
  if (record === undefined) throw new Failure('UNEXPECTED', 'a takeover without plan and record')
  const done = await takeOver(record, plan?.copies ?? [], takeover)
  const renewal = done.lane === 'x509' && !done.keepKey ? await askForKey(takeover) : []
  if (options.json) io.stdout(`${JSON.stringify({ takenOver: done.unit, lane: done.lane, renewal })}\n`)
  else io.stdout(`${doneLines(done, renewal).join('\n')}\n`)
  return exitCodes.fine
}

/** The device is connected already: that no new key can be asked for now is to be told, and no reason to go back. */
async function askForKey({ agent }: Takeover): Promise<readonly string[]> {
  return agent.renew().catch((error: unknown) => {
    const { code, message } = asFailure(error)
    return [`${code}: ${message}`, 'ask again with: iot-device-agent renew']
  })
}

function doneLines({ unit, lane, keepKey }: TakeoverRecord, renewal: readonly string[]): readonly string[] {
  const key = [
    'The key in use was made elsewhere (KEY_FOREIGN), and so a new one is asked for:',
    ...renewal.map((line) => `  ${line}`),
    'Have the request signed, and lay the chain down; the device stays connected with the old key meanwhile:',
    '  iot-device-agent csr',
  ]
  return [
    `Taken over from ${unit}: the device is connected by ${lane}.`,
    ...(lane === 'sas' ? [] : keepKey ? ['The key stays until its first renewal: iot-device-agent renew'] : key),
    'To see how it is:  iot-device-agent status',
    'To go back:        sudo iot-device-agent import --undo',
  ]
}

async function goBack(
  io: Output,
  record: TakeoverRecord | undefined,
  { force, json }: ImportOptions,
  takeover: Takeover,
): Promise<number> {
  if (record === undefined) throw new Failure('IMPORT_NOTHING_TO_UNDO', 'there is no record of a takeover')
  // What is only half taken over, or half undone, goes back whatever the lane.
  if (!force && record.step === 'done') await requireSameLane(record, takeover)
  await undoTakeover(record, takeover)
  io.stdout(json ? `${JSON.stringify({ undone: record.unit })}\n` : `Undone: ${record.unit} runs as before.\n`)
  return exitCodes.fine
}

function tellDone(io: Output, { unit, lane }: TakeoverRecord, { json }: ImportOptions): number {
  const text = `Taken over from ${unit} already, by ${lane}.\nTo go back:  sudo iot-device-agent import --undo\n`
  io.stdout(json ? `${JSON.stringify({ takenOver: unit, lane })}\n` : text)
  return exitCodes.fine
}

function tellInterrupted(io: Output, { unit, step }: TakeoverRecord, { json }: ImportOptions): number {
  const text = `Taking over from ${unit} was interrupted (${step}).\nTo go on:    sudo iot-device-agent import --apply\nTo go back:  sudo iot-device-agent import --undo\n`
  io.stdout(json ? `${JSON.stringify({ interrupted: unit, step })}\n` : text)
  return exitCodes.failed
}

/** Whoever may not read the key of another user is told how to. */
function failureOf(error: unknown, parts: ImportParts): Failure {
  const failure = asFailure(error)
  if (failure.code !== 'ACCESS_DENIED' || parts.isRoot) return failure
  return new Failure('IMPORT_NEEDS_ROOT', failure.message, { cause: error })
}

function fail(io: Output, { code, message, advice }: Failure, { json }: ImportOptions): number {
  if (json) io.stdout(`${JSON.stringify({ failure: { code, message, advice } })}\n`)
  else io.stderr(`${code}: ${message}\n  ${advice}\n`)
  return exitCodes.failed
}
