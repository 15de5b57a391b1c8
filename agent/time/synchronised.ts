import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Clock } from '../system/clock.ts'
import { errorCode } from '../system/error-code.ts'
import { TOLERANCE_MS } from './trust.ts'

const run = promisify(execFile)

/** Asks the system whether something keeps its clock right. */
export interface Synchronisation {
  /** Undefined where nothing can tell. Never rejects but with `signal.reason`. */
  ask(signal: AbortSignal): Promise<boolean | undefined>
  /** The clock was set or the machine slept: what was said before is void until it is said anew. */
  forget(): void
}

export interface SynchronisationOptions {
  readonly clock: Clock
  /** What systemd-timesyncd touches. */
  readonly flagFile?: string
  /** `timedatectl`, or what stands for it. */
  readonly program?: string
}

/** Touched at each successful synchronisation, gone with the service. Source: systemd-timesyncd.service(8), "Files". */
const TIMESYNCD_FLAG = '/run/systemd/timesync/synchronized'

/**
 * So long after the last success the kernel itself would no longer call a clock synchronised: its error grows by
 * 500 ppm and may reach 16 s. Source: Linux kernel/time/ntp.c, MAXFREQ and NTP_PHASE_LIMIT.
 */
const FLAG_HOLDS_MS = 32_000_000

/** Each question starts a process and, by D-Bus, often systemd-timedated with it; a yes is not asked for again so soon. */
const ASK_AFTER_MS = 60_000
const ASK_AFTER_YES_MS = 600_000

const ANSWER_WITHIN_MS = 2_000

/**
 * Two ways, both open in the sandbox of systemd/iot-device-agent.service:
 *
 * - The flag file of systemd-timesyncd, by the time of its last change. ProtectSystem=strict leaves /run readable, and
 *   neither ProcSubset, ProtectProc nor PrivateTmp touches it.
 * - `timedatectl`, which asks systemd-timedated over D-Bus for the kernel's own flag, and so tells of chrony (with
 *   `rtcsync`, as Debian ships it) and ntpd as well; a clock that is set by hand clears that flag. AF_UNIX is allowed,
 *   a socket on a read-only mount can be connected to, PrivateUsers keeps the number of the service's own user, by which
 *   D-Bus knows it, and none of its system calls is in a group that the unit takes away.
 *
 * Not open: adjtimex(2) by ourselves or by a tool of chrony or ntpd that calls it: ProtectClock=yes refuses the call, even
 * for reading. In a container without systemd both ways say nothing, and the answer is undefined.
 */
export function createSynchronisation(options: SynchronisationOptions): Synchronisation {
  const { clock, flagFile = TIMESYNCD_FLAG, program = 'timedatectl' } = options
  let touchedMs: number | undefined
  let voidMs: number | undefined
  let told: { readonly answer: boolean | undefined; readonly untilMs: number } | undefined

  const askProgram = async (signal: AbortSignal) => {
    if (told !== undefined && clock.monotonicMs() < told.untilMs) return told.answer
    const untilMs = clock.monotonicMs() + ASK_AFTER_MS
    // Kept at once, so that what `forget` clears during the call is not put back.
    const asked = { answer: undefined, untilMs }
    told = asked
    const answer = await kernelFlag(program, signal)
    if (told === asked)
      told = { answer, untilMs: answer === true ? untilMs - ASK_AFTER_MS + ASK_AFTER_YES_MS : untilMs }
    return answer
  }

  return {
    async ask(signal) {
      signal.throwIfAborted()
      touchedMs = await lastTouchedMs(flagFile)
      if (touchedMs !== undefined && touchedMs !== voidMs && isRecent(clock.now() - touchedMs)) return true
      return askProgram(signal)
    },
    forget() {
      voidMs = touchedMs
      told = undefined
    },
  }
}

function isRecent(ageMs: number): boolean {
  return ageMs >= -TOLERANCE_MS && ageMs < FLAG_HOLDS_MS
}

/** Undefined when there is no such file, or none that we may see. */
async function lastTouchedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (errorCode(error) === undefined) throw error
    return undefined
  }
}

/** Undefined when the program is absent, fails, is late or says something else than yes or no. */
async function kernelFlag(program: string, signal: AbortSignal): Promise<boolean | undefined> {
  try {
    const { stdout } = await run(program, ['show', '--property=NTPSynchronized', '--value'], {
      ...{ timeout: ANSWER_WITHIN_MS, killSignal: 'SIGKILL', maxBuffer: 1024, signal },
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    })
    const word = stdout.trim()
    return word === 'yes' ? true : word === 'no' ? false : undefined
  } catch {
    // The system has no opinion: that is an answer, and the next one is asked for in a minute.
    signal.throwIfAborted()
    return undefined
  }
}
