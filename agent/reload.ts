import type { LiveConfig } from './config/live.ts'
import type { Loaded } from './config/load.ts'
import { formatProblems } from './config/problems.ts'
import { compareSettings } from './config/reload-keys.ts'
import { takeUpSettings } from './connected.ts'
import type { Attendance } from './connected.ts'
import { restartText } from './control/reload.ts'
import type { ReloadAnswer } from './control/reload.ts'
import { asFailure, Failure } from './failure.ts'
import type { Flow } from './flow.ts'
import type { Notify } from './system/notify.ts'

export interface ReloadNeeds {
  readonly live: LiveConfig
  readonly flow: Pick<Flow, 'takeUp'>
  /** Reads the configuration from where the agent had it at its start. */
  readonly load: () => Loaded
  /** Resolves when systemd may be told of a reload: once it was told that the agent is ready. */
  readonly ready: Promise<void>
  /** The newest status that systemd was told. */
  readonly lastStatus: () => string
}

/** Takes up a changed configuration; never rejects. A failure is logged, and nothing has changed then. */
export type Reload = () => Promise<ReloadAnswer | Failure>

/**
 * Reads the configuration anew and puts in force what can be while the agent runs, all at once. One at a time: who asks
 * while another reload is under way gets the next one, together with all others who do.
 */
export function createReload(needs: ReloadNeeds, parts: Attendance, signal: AbortSignal): Reload {
  let present: Promise<unknown> = needs.ready
  let next: Promise<ReloadAnswer | Failure> | undefined
  const begin = () => {
    present = next ?? present
    next = undefined
    return reloadOnce(needs, parts, signal)
  }
  return () => (next ??= present.then(begin, begin))
}

async function reloadOnce(needs: ReloadNeeds, parts: Attendance, signal: AbortSignal): Promise<ReloadAnswer | Failure> {
  const { log, notify } = parts
  if (signal.aborted) return new Failure('AGENT_NOT_RUNNING', 'the agent is stopping')
  try {
    await notify.reloading()
    return takeUp(needs, parts)
  } catch (error) {
    const failure = asFailure(error)
    log.failure(failure, { event: 'the configuration stays as it was' })
    return failure
  } finally {
    if (!signal.aborted) await notify.ready(needs.lastStatus())
  }
}

/** Nothing comes between the first value that changes and the last. @throws Failure CONFIG_INVALID */
function takeUp({ live, flow, load }: ReloadNeeds, parts: Attendance): ReloadAnswer {
  const { facts, log } = parts
  const loaded = load()
  if (!loaded.ok) throw new Failure('CONFIG_INVALID', formatProblems(loaded.problems))
  const { settings, taken, pending } = compareSettings(live.config.written, loaded.value.written)
  live.replace(settings)
  const overruled = takeUpSettings(taken, parts)
  flow.takeUp()
  log.info('the configuration was read anew', { taken, overruled })
  const restart = restartText(pending)
  if (restart !== undefined && String(facts.pendingKeys) !== String(pending)) log.warn(restart, { pending })
  facts.pendingKeys = pending
  return { taken, overruled, pending }
}

/** For who asked over the socket. @throws Failure CONFIG_INVALID with all problems as its message, and what `reload` returns */
export async function answerReload(reload: Reload): Promise<ReloadAnswer> {
  const outcome = await reload()
  if (outcome instanceof Failure) throw outcome
  return outcome
}

/** Also knows the newest status that it was given. */
export function rememberStatus(notify: Notify): Notify & { readonly lastStatus: () => string } {
  let last = ''
  const say = (how: 'ready' | 'status') => (text: string) => {
    last = text
    return notify[how](text)
  }
  return { ...notify, ready: say('ready'), status: say('status'), lastStatus: () => last }
}
