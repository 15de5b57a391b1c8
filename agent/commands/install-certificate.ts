import { createReadStream } from 'node:fs'
import { dirname } from 'node:path'
import { vaultKeysFor } from '../credential/token-key.ts'
import { openVault } from '../credential/vault.ts'
import type { Vault } from '../credential/vault.ts'
import { Failure } from '../failure.ts'
import { certificateFacts } from '../pki/certificate.ts'
import { checkChain } from '../pki/chain.ts'
import type { CheckedChain } from '../pki/chain.ts'
import { layDownChain, readUpTo } from '../pki/exchange.ts'
import { errorCode } from '../system/files.ts'
import { isChainAwaited } from './chain-awaited.ts'
import { printProblem, printRepairs, reportFailure } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'
import { exitCodes } from './exit-codes.ts'

export interface InstallCertificateOptions extends CredentialSettings {
  /** File with the chain, `-` for stdin. */
  readonly file: string
}

/**
 * `install-certificate FILE`: checks a chain against the open request, prints every problem, and when there is none
 * lays it down where the agent waits for it. The agent checks it again: this is a courtesy to the technician.
 *
 * While the agent uses a pair of files and no renewal is under way it waits for nothing: the chain is put into the vault
 * here, and comes into use when the pair is taken out of the configuration. So the device has a credential at every moment.
 */
export function runInstallCertificate(
  options: InstallCertificateOptions,
  environment: CommandEnvironment,
): Promise<number> {
  return reportFailure(environment, async () => {
    // Read first: afterwards the process may be a user who cannot read it.
    const pem = options.file === '-' ? await readUpTo(environment.stdin) : await readFileOf(options.file)
    await environment.actAsOwner(options.stateDir)
    const keys = vaultKeysFor(options, environment.clock)
    const vault = await openVault(options.stateDir, environment.clock, printRepairs(environment), keys)
    const pending = await vault.pending()
    if (pending?.registrationId !== options.registrationId) {
      throw new Failure('NO_PENDING_REQUEST', `${options.registrationId} waits for no certificate`)
    }
    const verdict = checkChain({ pem, ...pending, nowMs: environment.clock.now() })
    if (!verdict.ok) {
      for (const problem of verdict.problems) printProblem(environment, problem.code, problem.message)
      return exitCodes.failed
    }
    const lines =
      options.pair === undefined || (await isChainAwaited(options, environment))
        ? await layDown(verdict.value, options)
        : await keepInVault(verdict.value, vault, options.pair)
    environment.stdout(`${lines.join('\n')}\n`)
    return exitCodes.fine
  })
}

async function layDown(chain: CheckedChain, options: InstallCertificateOptions): Promise<readonly string[]> {
  const path = await layDownChain(options, options.registrationId, chain.pem)
  return [
    ...summary(chain, path),
    'A running agent takes it within seconds; otherwise it takes effect at the next start:',
    '  systemctl start iot-device-agent',
  ]
}

async function keepInVault(
  chain: CheckedChain,
  vault: Vault,
  pair: NonNullable<CredentialSettings['pair']>,
): Promise<readonly string[]> {
  const { keyFile } = await vault.accept(chain)
  return [
    ...summary(chain, dirname(keyFile)),
    `It is not in use yet: the agent goes on with ${pair.certificateFile} for as long as that is configured. Next:`,
    '  remove auth.x509.certificateFile and keyFile, or CERT_PATH and KEY_PATH, from where they are written:',
    '    iot-device-agent config show-origin',
    `  if that says "python default", move ${pair.certificateFile} and ${pair.keyFile} away`,
    '  systemctl restart iot-device-agent',
    'Keep the old pair until iot-device-agent status says that the device is connected: putting it back undoes this.',
  ]
}

function summary(chain: CheckedChain, place: string): readonly string[] {
  const above = chain.intermediates.map((certificate) => certificateFacts(certificate).subject)
  return [
    `The chain of ${chain.facts.commonName} is good and lies in ${place}`,
    `  thumbprint SHA-256  ${chain.facts.thumbprintSha256}`,
    `  valid               ${chain.facts.notBefore} to ${chain.facts.notAfter}`,
    `  issued by           ${above.length === 0 ? chain.facts.issuer : above.join(' < ')}`,
  ]
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
