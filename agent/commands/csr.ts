import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { certificateNeed } from '../credential/need.ts'
import { openVault } from '../credential/vault.ts'
import type { PendingRequest } from '../credential/vault.ts'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'
import { EXIT_FINE, reportFailure } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'

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
    environment.stderr(nextSteps(request, options))
    return EXIT_FINE
  })
}

/** @throws Failure CERTIFICATE_STILL_GOOD */
async function openRequest(options: CsrOptions, environment: CommandEnvironment): Promise<PendingRequest> {
  const vault = await openVault(options.stateDir, environment.clock)
  const waiting = await vault.pending()
  if (waiting?.registrationId !== options.registrationId) {
    const facts = (await vault.active())?.facts
    if (facts !== undefined && certificateNeed(facts, options.registrationId, environment.clock.now()) === undefined) {
      const { thumbprintSha256, notAfter } = facts
      const fact = `the certificate ${thumbprintSha256} is valid until ${notAfter}`
      throw new Failure('CERTIFICATE_STILL_GOOD', fact, { context: { thumbprintSha256, notAfter } })
    }
  }
  const request = await vault.request(options)
  for (const repair of vault.repairs) environment.stderr(`${repair.code}: ${repair.message}\n`)
  return request
}

function nextSteps(request: PendingRequest, options: CsrOptions): string {
  const lines = [
    `Certificate request of ${request.registrationId} (${request.keyKind}), made ${request.requestedAt}.`,
    'The private key was made on this device and stays here.',
    `Next: have it signed with CN=${request.registrationId} and extendedKeyUsage=clientAuth, then on this device:`,
    '  iot-device-agent install-certificate CHAIN.pem',
    `or put leaf and intermediates into ${options.issuedDir}/${request.registrationId}.pem`,
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
