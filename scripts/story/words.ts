/** What the stories share: how they speak, and how they wait for what the cloud records. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { RecordedEvent } from '../../test/cloud/record.ts'
import type { Device } from './device.ts'

export type EventOf<K extends RecordedEvent['kind']> = Extract<RecordedEvent, { kind: K }>

/** What a story ends with; `--json` prints it as it is. */
export interface Told {
  readonly ok: boolean
}

/** The device of every story. */
export const REGISTRATION_ID = 'press-07'

/** Time for any one step before the story is called failed, in milliseconds; DPS alone may ask for two waits of 3 s. */
const STEP_MS = 60_000

/** The voice of one story, and what it has told so far. */
export interface Telling {
  readonly say: (step: string, text: string) => void
  /** Says whether a step held, and gives it back; one that did not hold fails the story. */
  readonly check: (step: string, held: boolean, text: string) => boolean
  /** Whether every step held so far. */
  readonly held: () => boolean
  /** Whole seconds since the story began. */
  readonly seconds: () => number
}

export function beginTelling(): Telling {
  const startedAt = performance.now()
  let allHeld = true
  return {
    say,
    check(step, held, text) {
      if (!held) allHeld = false
      say(held ? step : `FAILED ${step}`, text)
      return held
    },
    held: () => allHeld,
    seconds: () => Math.round((performance.now() - startedAt) / 1000),
  }
}

function say(step: string, text: string): void {
  console.log(`${step.padEnd(18)} ${text}`)
}

/** A story that ended before its end. */
export interface BrokenOff extends Told {
  readonly ok: false
  readonly registrationId: string
  readonly reason: string
}

/** Tells a story of a device to its end. One that breaks off shows what the agent said. */
export async function tellOf<T extends Told>(
  device: Device,
  telling: Telling,
  story: () => Promise<T>,
): Promise<T | BrokenOff> {
  try {
    return await story()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    telling.say('FAILED', `${reason}\nthe agent said:\n${device.said()}`)
    return { ok: false, registrationId: device.registrationId, reason }
  } finally {
    device.kill()
  }
}

/** The first event of a kind that fits and comes after `since`; 0 begins with the record. */
export async function seen<K extends RecordedEvent['kind']>(
  cloud: Cloud,
  kind: K,
  fits: (event: EventOf<K>) => boolean = () => true,
  since = 0,
): Promise<EventOf<K>> {
  const isIt = (event: RecordedEvent) => event.kind === kind && fits(event as EventOf<K>)
  return (await cloud.record.waitFor(isIt, { withinMs: STEP_MS, since })) as EventOf<K>
}

/** A place for one device below the folder of the story. */
export async function makePlace(folder: string, name: string): Promise<string> {
  const place = join(folder, name)
  await mkdir(join(place, 'etc'), { recursive: true })
  return place
}

/** A path as it reads from the folder of the story. */
export function shorten(path: string, folder: string): string {
  return path.replace(folder, '')
}
