import { Failure } from '../failure.ts'
import { isObject } from '../system/json.ts'
import { askControl } from './client.ts'
import type { AskOptions } from './client.ts'
import type { ControlAnswer, ControlRequest } from './protocol.ts'

/** What came of a reload. All are keys of the configuration. */
export interface ReloadAnswer {
  /** In force from now on. */
  readonly taken: readonly string[]
  /** Of those, what the device twin has set to something else, which goes before. */
  readonly overruled: readonly string[]
  /** Changed in the files, and in force with the next start only. */
  readonly pending: readonly string[]
  /** The agent waited for something that is there now. */
  readonly begins?: true
}

/** Less than the 30 s after which the agent lets a client go. */
const RELOAD_WITHIN_MS = 25_000

const request: ControlRequest = { ask: 'reload' }

/** Whether a request is `{"ask":"reload"}`. */
export function isReload({ ask, ...others }: ControlRequest): boolean {
  return ask === request.ask && Object.keys(others).length === 0
}

/**
 * Has the running agent read its configuration anew; throws as `askControl` does. A refusal comes back as it is:
 * CONFIG_INVALID with all problems as its message.
 */
export async function askReload(options: AskOptions): Promise<ReloadAnswer | Extract<ControlAnswer, { ok: false }>> {
  const answer = await askControl(request, { withinMs: RELOAD_WITHIN_MS, ...options })
  if (!answer.ok) return answer
  if (isReloadAnswer(answer.value)) return answer.value
  throw new Failure('CONTROL_BAD_ANSWER', 'the answer to the reload is of a form that is not known here')
}

/** What a technician has to do about keys that a reload could not take up; undefined when there are none. */
export function restartText(pending: readonly string[]): string | undefined {
  if (pending.length === 0) return undefined
  return `needs a restart: ${pending.join(', ')}; systemctl restart iot-device-agent`
}

function isReloadAnswer(value: unknown): value is ReloadAnswer {
  if (!isObject(value)) return false
  return [value['taken'], value['overruled'], value['pending']].every(
    (keys) => Array.isArray(keys) && keys.every((key) => typeof key === 'string'),
  )
}
