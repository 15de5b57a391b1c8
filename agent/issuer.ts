import { readFile } from 'node:fs/promises'
import type { Config } from './config/paths.ts'
import type { Attendance } from './connected.ts'
import { loadCredentialFiles } from './credential/files.ts'
import { readPrivate } from './credential/sas-secret.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import { asFailure, Failure } from './failure.ts'
import { createCommandIssuer } from './issue/command.ts'
import { createEither } from './issue/either.ts'
import type { EstIdentity, EstServer } from './issue/est/client.ts'
import { createEstIssuer } from './issue/est/issuer.ts'
import { createFolderIssuer } from './issue/folder.ts'
import type { Issuer } from './issue/port.ts'
import type { Clock } from './system/clock.ts'
import { programEnvironment } from './system/run-program.ts'

/** What is configured, and beside it the folder, which is the door for technicians and for the hub. */
export function issuerOf(vault: Vault, { config, clock, log, random }: Attendance): Issuer {
  const { requestsDir, issuedDir } = config.paths
  const { kind, program, timeoutSeconds, est } = config.issuer
  const warnOf = (issuer: string) => (failure: Failure) => log.failure(failure, { issuer })
  const folder = createFolderIssuer({ clock, requestsDir, issuedDir, warn: warnOf('folder') })
  if (kind === 'command' && program !== undefined) {
    const timeoutMs = timeoutSeconds * 1000
    const environment = programEnvironment(process.env)
    const command = createCommandIssuer({ program, timeoutMs, environment, clock, random, warn: warnOf(kind) })
    return createEither(folder, command, { clock, random, warn: warnOf('either') })
  }
  if (kind === 'est' && est.server !== undefined && est.caFile !== undefined) {
    const { server: url, label, caFile } = est
    const server = async (): Promise<EstServer> => ({ url, label, caPem: await usable(() => readFile(caFile, 'utf8')) })
    const present = () => presentIdentity(vault, clock)
    const bootstrap = () => usable(() => bootstrapIdentity(est))
    return createEither(folder, createEstIssuer({ server, present, bootstrap, clock, random, warn: warnOf(kind) }), {
      clock,
      random,
      warn: warnOf('either'),
    })
  }
  return folder
}

/** The certificate in use, while it is valid. */
async function presentIdentity(
  vault: Vault,
  clock: Clock,
): Promise<Extract<EstIdentity, { by: 'certificate' }> | undefined> {
  const credential = await vault.active()
  if (credential === undefined || Date.parse(credential.facts.notAfter) <= clock.now()) return undefined
  return identityOf(credential)
}

/** @throws Failure of the files */
async function bootstrapIdentity(est: Config['issuer']['est']): Promise<EstIdentity | undefined> {
  const { user, passwordFile, certificateFile, keyFile } = est
  if (certificateFile !== undefined && keyFile !== undefined)
    return identityOf(await loadCredentialFiles({ certPath: certificateFile, keyPath: keyFile }))
  if (user === undefined || passwordFile === undefined) return undefined
  const { text } = await readPrivate(passwordFile, process.env)
  return { by: 'password', user, password: text.replace(/\r?\n$/, '') }
}

function identityOf({ chainPem, keyPem }: X509Credential): Extract<EstIdentity, { by: 'certificate' }> {
  return { by: 'certificate', chainPem, keyPem }
}

/** @throws Failure ISSUER_SECRET_UNUSABLE */
async function usable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    throw new Failure('ISSUER_SECRET_UNUSABLE', asFailure(cause).message, { cause })
  }
}
