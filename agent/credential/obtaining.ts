import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { RotationPorts } from './rotation-ports.ts'

/** How the wait for a certificate ended. `by` is aborted when nobody wants it any more. */
export interface Obtained {
  readonly news: 'obtained'
  readonly outcome: CredentialRef | Failure
  readonly by: AbortSignal
}

/** The wait for a new certificate, one at a time. */
export interface Obtaining {
  start(): void
  stop(): void
}

export function createObtaining(
  ports: Pick<RotationPorts, 'obtain'>,
  tell: (obtained: Obtained) => void,
  signal: AbortSignal,
): Obtaining {
  let present: AbortController | undefined
  const stop = () => {
    present?.abort(new Error('no certificate is wanted any more'))
    present = undefined
  }
  return {
    stop,
    start() {
      stop()
      const mine = new AbortController()
      present = mine
      void ports
        .obtain(AbortSignal.any([signal, mine.signal]))
        .catch(asFailure)
        .then((outcome) => tell({ news: 'obtained', outcome, by: mine.signal }))
    },
  }
}
