import { Failure } from '../failure.ts'
import { MAX_CHAIN_BYTES } from '../pki/certificates-file.ts'
import { backoffMs } from '../system/backoff.ts'
import type { Clock } from '../system/clock.ts'
import { cleanWords, runProgram } from '../system/run-program.ts'
import type { Run } from '../system/run-program.ts'
import { createPostponed } from './postponed.ts'
import type { Issuer } from './port.ts'

export interface CommandIssuerOptions {
  /** The program and its arguments; no shell sees them. */
  readonly program: readonly [string, ...string[]]
  readonly timeoutMs: number
  /** All that the program sees of an environment. */
  readonly environment: Readonly<Record<string, string>>
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told of each run that gave nothing, while trying goes on. */
  readonly warn: (failure: Failure) => void
}

/** Between runs: a certificate authority must not be asked by a fleet as often as a program can be run. */
const PAUSE = { baseMs: 5_000, capMs: 900_000 }

/** How long a chain whose dates do not fit is left alone. */
const POSTPONED_MS = 60_000

/** Longest of what the program said that goes into the log. */
const MAX_WORDS = 300

/**
 * The issuer that is a program: the request on its stdin, PKCS#10 in PEM, the chain on its stdout, PEM as well. It is
 * run until it gives something; that something is judged by whoever asked.
 */
export function createCommandIssuer(options: CommandIssuerOptions): Issuer {
  const { clock, random, warn } = options
  let failed = 0
  /** Monotonic; no run begins before. It outlives a wait that was given up. */
  let notBeforeMs = 0
  let given = ''
  const postponed = createPostponed()

  const pause = (ms: number) => (notBeforeMs = clock.monotonicMs() + ms)
  const pauseAfterFailure = () => {
    pause(backoffMs(failed, PAUSE, random))
    failed += 1
  }

  return {
    name: 'command',
    async issue(request, signal) {
      for (;;) {
        await clock.wait(Math.max(0, notBeforeMs - clock.monotonicMs()), signal)
        const before = postponed.take()
        if (before !== undefined) return (given = before)
        // Whatever comes of this run, an abort in the middle included, the next one is not at once.
        pauseAfterFailure()
        const chain = chainOf(await runProgram({ ...options, input: request.csrPem }, signal), options)
        if (!(chain instanceof Failure)) return (given = chain)
        warn(chain)
      }
    },
    async received(_, { outcome }) {
      if (outcome === 'postponed') {
        postponed.keep(given)
        pause(POSTPONED_MS)
        return
      }
      postponed.forget()
      if (outcome !== 'accepted') return
      failed = 0
      notBeforeMs = 0
    },
  }
}

function chainOf({ how, stdout, stderr }: Run, { program, timeoutMs }: CommandIssuerOptions): string | Failure {
  const words = cleanWords(stderr).slice(-MAX_WORDS)
  const failed = (what: string) =>
    new Failure('ISSUER_PROGRAM_FAILED', `${program[0]} ${what}${words === '' ? '' : `: ${words}`}`)
  switch (how.end) {
    case 'notStarted':
      return failed(`cannot be started (${how.code})`)
    case 'late':
      return failed(`did not end within ${timeoutMs / 1000} s`)
    case 'signalled':
      return failed(`was ended by ${how.signalName}`)
    case 'tooMuch':
      return failed('printed more than a chain can be')
    case 'exited':
      if (how.exitCode !== 0) return failed(`ended with exit code ${how.exitCode}`)
      if (stdout.length > MAX_CHAIN_BYTES)
        return failed(`printed ${stdout.length} bytes, a chain has at most ${MAX_CHAIN_BYTES}`)
      return certificatesOr(new TextDecoder().decode(stdout), () =>
        failed('ended well and printed no certificate in PEM'),
      )
  }
}

/** A pipe of a shell ends well when its first part fails: then what was said on stderr is all that there is. */
function certificatesOr(text: string, failed: () => Failure): string | Failure {
  return text.includes('-----BEGIN CERTIFICATE-----') ? text : failed()
}
