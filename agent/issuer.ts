import { X509Certificate } from 'node:crypto'
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
import { errorCode } from './system/error-code.ts'
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
    const server = async (): Promise<EstServer> => ({ url, label, caPem: await usable(() => readAuthorities(caFile)) })
    const present = () => presentIdentity(vault, clock, warnOf(kind))
    const bootstrap = () => usable(() => bootstrapIdentity(est))
    return createEither(folder, createEstIssuer({ server, present, bootstrap, clock, random, warn: warnOf(kind) }), {
      clock,
      random,
      warn: warnOf('either'),
    })
  }
  return folder
}

/** The authorities of the server: with none, TLS would trust every public one. */
async function readAuthorities(caFile: string): Promise<string> {
  const unusable = (fact: string, cause: unknown) =>
    new Failure('ISSUER_SECRET_UNUSABLE', `issuer.est.caFile ${caFile} ${fact}`, { cause })
  const pem = await readFile(caFile, 'utf8').catch((cause: unknown) => {
    throw unusable(`cannot be read: ${errorCode(cause) ?? String(cause)}`, cause)
  })
  try {
    void new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw unusable('does not begin with a certificate in PEM', cause)
  }
}

/** The certificate in use, while it is valid. One whose key cannot be used is as none: what the device was given at first remains. */
async function presentIdentity(
  vault: Vault,
  clock: Clock,
  warn: (failure: Failure) => void,
): Promise<Extract<EstIdentity, { by: 'certificate' }> | undefined> {
  const credential = await vault.active().catch((error: unknown) => {
    warn(asFailure(error))
    return undefined
  })
  if (credential === undefined || Date.parse(credential.facts.notAfter) <= clock.now()) return undefined
  return identityOf(credential)
}

/** @throws Failure of the files */
async function bootstrapIdentity(est: Config['issuer']['est']): Promise<EstIdentity | undefined> {
  const { user, passwordFile, certificateFile, keyFile } = est
  if (certificateFile !== undefined && keyFile !== undefined)
    return identityOf(await loadCredentialFiles({ certPath: certificateFile, keyPath: keyFile }))
  if (user === undefined || passwordFile === undefined) return undefined
  const { path, text } = await readPrivate(passwordFile, process.env)
  const password = text.replace(/\r?\n$/, '')
  if (password !== '') return { by: 'password', user, password }
  throw new Failure('ISSUER_SECRET_UNUSABLE', `issuer.est.passwordFile: ${path} is empty`)
}

function identityOf({ chainPem, keyPem }: X509Credential): Extract<EstIdentity, { by: 'certificate' }> {
  return { by: 'certificate', chainPem, keyPem }
}

/** @throws Failure ISSUER_SECRET_UNUSABLE */
async function usable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    const failure = asFailure(cause)
    throw failure.code === 'ISSUER_SECRET_UNUSABLE'
      ? failure
      : new Failure('ISSUER_SECRET_UNUSABLE', failure.message, { cause })
  }
}
