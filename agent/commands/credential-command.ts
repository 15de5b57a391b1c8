import { asFailure, Failure } from '../failure.ts'
import type { KeyPlace } from '../credential/token-key.ts'
import type { FailureCode } from '../failure.ts'
import type { ExchangeFolders } from '../pki/exchange.ts'
import type { KeyType } from '../pki/key.ts'
import type { Clock } from '../system/clock.ts'
import { exitCodes } from './exit-codes.ts'

/** What the commands about keys and certificates take from the configuration. */
export interface CredentialSettings extends ExchangeFolders, KeyPlace {
  readonly stateDir: string
  readonly registrationId: string
  readonly keyType: KeyType
  /** A certificate and key that were made elsewhere and that the agent uses, whatever is in the vault. */
  readonly pair?: { readonly certificateFile: string; readonly keyFile: string } | undefined
}

/** The world around a command. */
export interface CommandEnvironment {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly stdin: AsyncIterable<Uint8Array>
  readonly clock: Clock
  /** Becomes the owner of a folder when root runs the command; `actAsOwner` outside of tests. */
  readonly actAsOwner: (folder: string) => Promise<boolean>
}

/** Runs the body of a command; a failure is printed with its advice and gives the exit code 1. */
export async function reportFailure(environment: CommandEnvironment, body: () => Promise<number>): Promise<number> {
  try {
    return await body()
  } catch (error) {
    const failure = asFailure(error)
    printProblem(environment, failure.code, failure.message)
    return exitCodes.failed
  }
}

/** For `openVault`: what was set aside or mended is no reason to stop, but to be told. */
export function printRepairs(environment: CommandEnvironment): (failure: Failure) => void {
  return ({ code, message }) => printProblem(environment, code, message)
}

/** Code and fact on one line, the advice of the failure table below. */
export function printProblem(environment: CommandEnvironment, code: FailureCode, fact: string): void {
  environment.stderr(`${code}: ${fact}\n  ${new Failure(code, fact).advice}\n`)
}
