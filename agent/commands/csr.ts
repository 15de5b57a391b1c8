import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { certificateNeed } from '../credential/need.ts'
import { vaultKeysFor } from '../credential/token-key.ts'
import { openVault } from '../credential/vault.ts'
import type { PendingRequest } from '../credential/vault.ts'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'
import { isChainAwaited } from './chain-awaited.ts'
import { printRepairs, reportFailure } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'
import { exitCodes } from './exit-codes.ts'

export interface CsrOptions extends CredentialSettings {
  /** File for the request instead of stdout. */
  readonly out?: string | undefined
}

/** `csr`: prints the open certificate request of this device; makes key and request when there is none. */
export function runCsr(options: CsrOptions, environment: CommandEnvironment): Promise<number> {
  return reportFailure(environment, async () => {
    // Opened first: afterwards the process may be a user who cannot write there.
    await using out = options.out === undefined ? undefined : await openOut(options.out)
    await environment.actAsOwner(options.stateDir)
    const request = await openRequest(options, environment)
    if (out === undefined) environment.stdout(request.csrPem)
    else await replaceContent(out, request.csrPem)
    environment.stderr(nextSteps(request, options, await isChainAwaited(options, environment)))
    return exitCodes.fine
  })
}

/** @throws Failure CERTIFICATE_STILL_GOOD */
async function openRequest(options: CsrOptions, environment: CommandEnvironment): Promise<PendingRequest> {
  const { clock } = environment
  const vault = await openVault(options.stateDir, clock, printRepairs(environment), vaultKeysFor(options, clock))
  const waiting = await vault.pending()
  if (waiting?.registrationId !== options.registrationId) {
    const facts = (await vault.active())?.facts
    if (facts !== undefined && certificateNeed(facts, options.registrationId, environment.clock.now()) === undefined) {
      const { thumbprintSha256, notAfter } = facts
      const unused = options.pair && `; it comes into use when ${options.pair.certificateFile} is no longer configured`
      const fact = `the certificate ${thumbprintSha256} is valid until ${notAfter}${unused ?? ''}`
      throw new Failure('CERTIFICATE_STILL_GOOD', fact, { context: { thumbprintSha256, notAfter } })
    }
  }
  return vault.request(options)
}

function nextSteps(request: PendingRequest, { issuedDir, pair }: CsrOptions, awaited: boolean): string {
  const lines = [
    `Certificate request of ${request.registrationId} (${request.keyKind}), made ${request.requestedAt}.`,
    'The private key was made on this device and stays here.',
    ...(pair === undefined
      ? []
      : [`Until all is done, the agent goes on with ${pair.certificateFile}; leave it there.`]),
    `Next: have it signed with CN=${request.registrationId} and extendedKeyUsage=clientAuth, then on this device:`,
    '  iot-device-agent install-certificate CHAIN.pem',
    // Nobody looks into that folder while a pair is in use and no renewal is under way.
    ...(awaited ? [`or put leaf and intermediates into ${issuedDir}/${request.registrationId}.pem`] : []),
  ]
  return `${lines.join('\n')}\n`
}

async function openOut(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_WRONLY | constants.O_CREAT, 0o644)
  } catch (cause) {
    throw new Failure('OUTPUT_UNWRITABLE', `cannot write ${path}: ${errorCode(cause) ?? String(cause)}`, { cause })
  }
}

/** What the file held before goes only now that there is something to put in its place. */
async function replaceContent(file: FileHandle, content: string): Promise<void> {
  if ((await file.stat()).isFile()) await file.truncate(0)
  await file.writeFile(content)
}
