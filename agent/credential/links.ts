import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { orAborted } from '../system/inbox.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { LinkEvents, LinkStart, RotationPorts } from './rotation-ports.ts'

/** A connection that is kept with one credential. */
export interface RunningLink {
  readonly id: number
  /** What it shows; a certificate that DPS issued on the way stands in the place of one that was pending. */
  readonly ref: CredentialRef
  /** Whether it has a session at this moment, told or not. */
  isConnected(): boolean
  /** Lets the present session live and begins nothing new, until it is released. */
  hold(): void
  release(): void
  /** Resolves when nothing of it is left. */
  stop(): Promise<void>
}

/** What a link tells. `id` says which link, since what is under way when one is stopped still arrives. */
export type LinkNews = { readonly id: number } & (
  | { readonly news: 'registered'; readonly byDps: boolean; readonly issued?: CredentialRef; readonly goOn: () => void }
  | { readonly news: 'connected'; readonly presented: CredentialRef | undefined }
  | { readonly news: 'twinRead' }
  | { readonly news: 'acknowledged' }
  | { readonly news: 'failed'; readonly failure: Failure }
  /** It could not even be begun, or broke: nothing runs any more. */
  | { readonly news: 'broken'; readonly failure: Failure }
)

/** Starts a link and has its news told until it is stopped or `signal` aborts. */
export function startLink(
  { id, ref, start }: { readonly id: number; readonly ref: CredentialRef; readonly start: LinkStart },
  ports: Pick<RotationPorts, 'link'>,
  tell: (news: LinkNews) => void,
  signal: AbortSignal,
): RunningLink {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  let gate = Promise.withResolvers<void>()
  gate.resolve()
  let isConnected = false
  let shown = ref
  const events: LinkEvents = {
    gate: (until) => orAborted(gate.promise, until),
    async registered(byDps = true, issued) {
      const answered = Promise.withResolvers<void>()
      shown = issued ?? shown
      tell({ id, news: 'registered', byDps, ...(issued && { issued }), goOn: answered.resolve })
      // Nobody may answer any more when the link is stopped at this moment.
      await orAborted(answered.promise, stop)
    },
    connected(presented) {
      isConnected = true
      tell({ id, news: 'connected', presented })
    },
    twinRead: () => tell({ id, news: 'twinRead' }),
    acknowledged: () => tell({ id, news: 'acknowledged' }),
    failed(failure) {
      isConnected = false
      tell({ id, news: 'failed', failure })
    },
  }
  const done = ports.link(ref, start, events, stop).catch((error: unknown) => {
    isConnected = false
    if (!stop.aborted) tell({ id, news: 'broken', failure: asFailure(error) })
  })
  return {
    id,
    get ref() {
      return shown
    },
    isConnected: () => isConnected,
    hold() {
      gate = Promise.withResolvers()
    },
    release: () => gate.resolve(),
    async stop() {
      over.abort(new Error('another credential has its turn'))
      await done
    },
  }
}
