import { asFailure } from '../failure.ts'
import type { Log } from './log.ts'

/** The one signal that ends the agent: SIGTERM or SIGINT. SIGHUP ends it no more, even when nobody has a use for it. */
export function stopOnSignals(): AbortSignal {
  const stop = new AbortController()
  process.on('SIGHUP', () => undefined)
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => stop.abort(new Error(`stopped by ${name}`)))
  }
  return stop.signal
}

/**
 * What nobody caught ends the process, so that systemd starts a fresh one: state on disk is always whole, state in
 * memory no longer is.
 */
export function exitOnTheUnexpected(log: Log): void {
  process.on('uncaughtException', (error) => {
    log.failure(asFailure(error), { event: 'uncaughtException' })
    process.exit(1)
  })
}
