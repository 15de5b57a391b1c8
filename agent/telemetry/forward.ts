import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { createBell } from './bell.ts'
import type { Spool } from './buffer.ts'
import type { Sample } from './sample.ts'

export interface ForwardOptions {
  readonly spool: Spool
  /**
   * Resolves when the hub has acknowledged the sample.
   *
   * @throws Failure MESSAGE_REFUSED the hub will never take this one; anything else ends the forwarding
   */
  readonly send: (sample: Sample) => Promise<void>
  /** Samples that may be on their way at a time; 1 keeps the order even across a reconnection. */
  readonly window?: number
  readonly onAcknowledged?: (sample: Sample) => void
  readonly onRefused?: (sample: Sample, failure: Failure) => void
}

/** Enough to fill a link of 200 ms round trip with 100 messages/s, which is what one IoT Hub unit takes. */
export const DEFAULT_WINDOW = 20

type Outcome = { readonly end: 'acknowledged' } | { readonly end: 'refused'; readonly failure: Failure }

interface Flight {
  readonly sample: Sample
  readonly outcome: Promise<Outcome>
}

/**
 * Sends what the spool holds, oldest first, for as long as a session lives. Samples are removed in their order, so that
 * those which were on their way when it ends stay in the spool and are sent again, under the same IDs, by the next one.
 *
 * @returns never
 * @throws Failure       of the first send that failed; whether the session is at fault is for its owner to say
 * @throws signal.reason when aborted
 */
export async function forward(options: ForwardOptions, signal: AbortSignal): Promise<never> {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  const window = options.window ?? DEFAULT_WINDOW
  const flights: Flight[] = []
  const changed = createBell()

  const end = (reason: unknown) => over.abort(reason)

  const launchAll = async () => {
    for await (const sample of options.spool.read(stop)) {
      while (flights.length >= window) await changed.next(stop)
      stop.throwIfAborted()
      const outcome = launch(options, sample)
      // Ends all at once, also when an older one is still under way; `settleAll` is the one that looks at the outcome.
      outcome.catch(end)
      flights.push({ sample, outcome })
      changed.ring()
    }
  }

  const settleAll = async () => {
    for (;;) {
      const oldest = flights[0]
      if (oldest === undefined) await changed.next(stop)
      else {
        await settle(options, oldest, stop)
        flights.shift()
        changed.ring()
      }
    }
  }

  await Promise.allSettled([launchAll().catch(end), settleAll().catch(end)])
  throw stop.reason
}

/** Sends one sample; a refusal is an outcome like any other, since it ends nothing. */
async function launch(options: ForwardOptions, sample: Sample): Promise<Outcome> {
  try {
    await options.send(sample)
    return { end: 'acknowledged' }
  } catch (error) {
    const failure = asFailure(error)
    if (failure.code === 'MESSAGE_REFUSED') return { end: 'refused', failure }
    throw failure
  }
}

async function settle(options: ForwardOptions, { sample, outcome }: Flight, stop: AbortSignal): Promise<void> {
  const result = await orStopped(outcome, stop)
  switch (result.end) {
    case 'acknowledged':
      await options.spool.acknowledge(sample.id)
      options.onAcknowledged?.(sample)
      return
    case 'refused':
      await options.spool.drop(sample.id, 'refused')
      options.onRefused?.(sample, result.failure)
  }
}

/** Settles as `work` does, or rejects with the reason of the abort, whichever is first. */
function orStopped<T>(work: Promise<T>, stop: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const halt = () => reject(stop.reason as Error)
    if (stop.aborted) halt()
    stop.addEventListener('abort', halt, { once: true })
    work.then(resolve, reject).finally(() => stop.removeEventListener('abort', halt))
  })
}
