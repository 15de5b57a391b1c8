import { createReadStream } from 'node:fs'
import { openVault } from '../credential/vault.ts'
import { Failure } from '../failure.ts'
import { certificateFacts } from '../pki/certificate.ts'
import { checkChain } from '../pki/chain.ts'
import type { CheckedChain } from '../pki/chain.ts'
import { issuedPath, readUpTo } from '../pki/exchange.ts'
import { errorCode, makePrivateFolder, writeDurably } from '../system/files.ts'
import { EXIT_FAILED, EXIT_FINE, printProblem, reportFailure } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'

export interface InstallCertificateOptions extends CredentialSettings {
  /** File with the chain, `-` for stdin. */
  readonly file: string
}

/**
 * `install-certificate FILE`: checks a chain against the open request, prints every problem, and when there is none
 * lays it down where the agent waits for it. The agent checks it again: this is a courtesy to the technician.
 */
export function runInstallCertificate(
  options: InstallCertificateOptions,
  environment: CommandEnvironment,
): Promise<number> {
  return reportFailure(environment, async () => {
    // Read first: afterwards the process may be a user who cannot read it.
    const pem = options.file === '-' ? await readUpTo(environment.stdin) : await readFileOf(options.file)
    await environment.actAsOwner(options.stateDir)
    const vault = await openVault(options.stateDir, environment.clock)
    const pending = await vault.pending()
    if (pending?.registrationId !== options.registrationId) {
      throw new Failure('NO_PENDING_REQUEST', `${options.registrationId} waits for no certificate`)
    }
    const verdict = checkChain({ pem, ...pending, nowMs: environment.clock.now() })
    if (!verdict.ok) {
      for (const problem of verdict.problems) printProblem(environment, problem.code, problem.message)
      return EXIT_FAILED
    }
    const path = issuedPath(options, pending.registrationId)
    await makePrivateFolder(options.issuedDir)
    await writeDurably(path, verdict.value.pem)
    environment.stdout(summary(verdict.value, path))
    return EXIT_FINE
  })
}

function summary(chain: CheckedChain, path: string): string {
  const above = chain.intermediates.map((certificate) => certificateFacts(certificate).subject)
  const lines = [
    `The chain of ${chain.facts.commonName} is good and lies in ${path}`,
    `  thumbprint SHA-256  ${chain.facts.thumbprintSha256}`,
    `  valid               ${chain.facts.notBefore} to ${chain.facts.notAfter}`,
    `  issued by           ${above.length === 0 ? chain.facts.issuer : above.join(' < ')}`,
    'A running agent takes it within seconds; otherwise it takes effect at the next start:',
    '  systemctl start iot-device-agent',
  ]
  return `${lines.join('\n')}\n`
}

/** A pipe, as `<(cat leaf.pem intermediate.pem)` makes one, is as good as a file. */
async function readFileOf(path: string): Promise<string> {
  try {
    return await readUpTo(createReadStream(path))
  } catch (cause) {
    const fact = `cannot read ${path}: ${errorCode(cause) ?? String(cause)}`
    throw new Failure('CHAIN_UNREADABLE', fact, { cause, context: { path } })
  }
}
