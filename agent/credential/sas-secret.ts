import type { KeyObject } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'
import { currentIdentity, exposureOfKeyFile, exposureOfKeyFolder } from './private-file.ts'
import type { Identity, Ownership } from './private-file.ts'
import { parseConnectionString, parseKey } from './sas-text.ts'
import type { DirectIdentity, Enrollment } from './sas-text.ts'

/** Where the configuration says that the secret is: an absolute path, or `credential:NAME`. One of the two at most. */
export interface SasSource {
  readonly keyFile?: string
  readonly connectionStringFile?: string
  readonly enrollment: Enrollment
}

/** The SAS secret of this device. `path` is where it was read, for whoever looks after it. */
export type SasSecret =
  | { readonly kind: 'dps'; readonly key: KeyObject; readonly path: string }
  | ({ readonly kind: 'direct'; readonly path: string } & DirectIdentity)

export type Environment = Readonly<Record<string, string | undefined>>

const CREDENTIAL = 'credential:'

const GROUP_MAY_READ = 0o040

/** More than any secret has; what is larger is another file. */
const MAX_BYTES = 4_096

/**
 * Reads the SAS secret; undefined when none is configured. Links are followed. No failure quotes the content.
 *
 * @param environment `CREDENTIALS_DIRECTORY` is where systemd lays the credentials of the service
 * @throws Failure SAS_SECRET_EXPOSED    others can read or exchange it; the message has the command that mends it
 * @throws Failure SAS_SECRET_UNREADABLE it is missing or cannot be read
 * @throws Failure SAS_SECRET_INVALID, SAS_GROUP_KEY as `sas-text.ts` judges the content
 */
export async function readSasSecret(source: SasSource, environment: Environment): Promise<SasSecret | undefined> {
  const { keyFile, connectionStringFile, enrollment } = source
  if (connectionStringFile !== undefined) {
    const { path, text } = await readPrivate(connectionStringFile, environment)
    return { kind: 'direct', path, ...parseConnectionString(text, path) }
  }
  if (keyFile === undefined) return undefined
  const { path, text } = await readPrivate(keyFile, environment)
  return { kind: 'dps', path, key: parseKey(text, enrollment, path) }
}

/** The files that hold the secret, as far as this process has been told where they are. Pure. */
export function secretPaths(source: SasSource, environment: Environment): readonly string[] {
  return [source.connectionStringFile, source.keyFile].flatMap((reference) => {
    const path = reference === undefined ? undefined : pathOf(reference, environment)
    return path === undefined ? [] : [path]
  })
}

/** The file behind a reference; undefined for a systemd credential when the process was started with none. */
function pathOf(reference: string, environment: Environment): string | undefined {
  if (!reference.startsWith(CREDENTIAL)) return reference
  const folder = environment['CREDENTIALS_DIRECTORY']
  return folder === undefined || folder === '' ? undefined : join(folder, reference.slice(CREDENTIAL.length))
}

/**
 * The command that keeps others from a secret, or undefined when only the agent can reach it. Pure.
 *
 * systemd lays a credential down as root's with mode 0400 and lets the user of the service read it by an access control
 * list, whose mask then shows as the right of the group: 0440 of root's group, who could read it anyway.
 */
export function exposureOfSecret(
  path: string,
  found: Ownership,
  agent: Identity,
  isCredential: boolean,
): string | undefined {
  const isOfRoot = found.uid === 0 && found.gid === 0
  const mode = isCredential && isOfRoot ? found.mode & ~GROUP_MAY_READ : found.mode
  return exposureOfKeyFile(path, { uid: found.uid, gid: found.gid, mode }, agent)
}

/**
 * The text of a file that only the agent can reach, or of a systemd credential.
 *
 * @throws Failure SAS_SECRET_EXPOSED, SAS_SECRET_UNREADABLE; no failure quotes the content
 */
export async function readPrivate(
  reference: string,
  environment: Environment,
): Promise<{ readonly path: string; readonly text: string }> {
  const path = pathOf(reference, environment)
  if (path === undefined) {
    throw unreadable(reference, 'the process was started without credentials; LoadCredential= in its unit names them')
  }
  try {
    const found = await stat(path)
    const folder = dirname(path)
    refuse(path, exposureOfSecret(path, found, currentIdentity(), reference !== path))
    refuse(path, exposureOfKeyFolder(folder, await stat(folder)))
    if (!found.isFile()) throw unreadable(path, 'it is not a regular file')
    if (found.size > MAX_BYTES) throw unreadable(path, `it has ${found.size} bytes, which no key has`)
    return { path, text: await readFile(path, 'utf8') }
  } catch (cause) {
    throw cause instanceof Failure ? cause : unreadable(path, errorCode(cause) ?? String(cause), cause)
  }
}

function refuse(path: string, remedy: string | undefined): void {
  if (remedy === undefined) return
  const fact = `${path} is open to others than the agent: ${remedy}`
  throw new Failure('SAS_SECRET_EXPOSED', fact, { context: { path, remedy } })
}

function unreadable(path: string, why: string, cause?: unknown): Failure {
  const details = cause === undefined ? {} : { cause }
  return new Failure('SAS_SECRET_UNREADABLE', `cannot read ${path}: ${why}`, { ...details, context: { path } })
}
