import type { LogLevel } from '../system/log.ts'
import type { Desired, Refusal } from './desired.ts'

/** The settings that a twin can change. */
export interface Settings {
  readonly intervalSeconds: number
  readonly logLevel: LogLevel
}

export type TwinAction =
  | { readonly do: 'setInterval'; readonly seconds: number }
  | { readonly do: 'setLogLevel'; readonly level: LogLevel }

/**
 * The answer to one desired key, in the form of IoT Plug and Play: the value that applies now, a status like HTTP's,
 * the desired `$version` that is answered, and why.
 */
export interface Acknowledgement {
  readonly key: string
  /** Left out where there is no such setting. */
  readonly value?: number | string
  readonly ac: 200 | 400 | 404
  readonly av: number
  readonly ad: string
}

export interface Reconciliation {
  readonly actions: readonly TwinAction[]
  readonly acknowledgements: readonly Acknowledgement[]
}

export interface ReconcileFacts {
  readonly desired: Desired
  /** What applies without any wish. */
  readonly configured: Settings
  /** What applies now. */
  readonly current: Settings
}

/**
 * What to do so that the device is as wished, and what to answer. Without a wish the configuration applies; a refused
 * wish changes nothing.
 */
export function reconcile({ desired, configured, current }: ReconcileFacts): Reconciliation {
  const { wishes, refusals, version } = desired
  const refused = (key: string) => refusals.some((refusal) => refusal.key === key)
  const target: Settings = {
    intervalSeconds:
      wishes.intervalSeconds ??
      (refused('telemetry.intervalSeconds') ? current.intervalSeconds : configured.intervalSeconds),
    logLevel: wishes.logLevel ?? (refused('log.level') ? current.logLevel : configured.logLevel),
  }
  const applied = { ac: 200, av: version, ad: 'applied' } as const
  return {
    actions: [
      ...(target.intervalSeconds !== current.intervalSeconds
        ? [{ do: 'setInterval', seconds: target.intervalSeconds } as const]
        : []),
      ...(target.logLevel !== current.logLevel ? [{ do: 'setLogLevel', level: target.logLevel } as const] : []),
    ],
    acknowledgements: [
      ...(wishes.intervalSeconds !== undefined
        ? [{ key: 'telemetry.intervalSeconds', value: wishes.intervalSeconds, ...applied }]
        : []),
      ...(wishes.logLevel !== undefined ? [{ key: 'log.level', value: wishes.logLevel, ...applied }] : []),
      ...refusals.filter(isSetting).map((refusal) => answerTo(refusal, target, version)),
    ],
  }
}

/** What is wished about credentials is answered in the section `auth`, in a form of its own. */
function isSetting({ key }: Refusal): boolean {
  return !key.startsWith('auth.')
}

function answerTo({ key, status, reason }: Refusal, applies: Settings, version: number): Acknowledgement {
  const answer = { key, ac: status, av: version, ad: reason }
  if (key === 'telemetry.intervalSeconds') return { ...answer, value: applies.intervalSeconds }
  if (key === 'log.level') return { ...answer, value: applies.logLevel }
  return answer
}
