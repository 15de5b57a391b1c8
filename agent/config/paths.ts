import { join } from 'node:path'
import { DEFAULT_RUNTIME_DIR } from './schema.ts'
import type { Settings } from './schema.ts'

/** Where the agent keeps what it keeps. Every path is absolute. */
export interface Paths {
  readonly stateDir: string
  readonly runtimeDir: string
  /** Certificate requests of the folder issuer, for whoever signs them. */
  readonly requestsDir: string
  /** Where the folder issuer looks for the signed chain. */
  readonly issuedDir: string
  /** The hub that DPS assigned last. */
  readonly assignmentFile: string
  readonly controlSocket: string
}

/** The whole configuration as the program sees it: what was written, defaults, and what follows from both. */
export interface Config extends Omit<Settings, 'issuer' | 'paths'> {
  readonly issuer: Settings['issuer'] & { readonly folder: string }
  readonly paths: Paths
}

/** Fills in what follows from other keys. */
export function deriveConfig(settings: Settings): Config {
  const { stateDir, runtimeDir } = settings.paths
  const folder = settings.issuer.folder ?? stateDir
  return {
    ...settings,
    issuer: { ...settings.issuer, folder },
    paths: {
      stateDir,
      runtimeDir,
      requestsDir: join(folder, 'requests'),
      issuedDir: join(folder, 'issued'),
      assignmentFile: join(stateDir, 'assignment.json'),
      controlSocket: join(runtimeDir, 'control.sock'),
    },
  }
}

/** Where a running agent can be asked when the configuration is of no use: a shell may lack what the service has. */
export function likelyControlSocket(environment: Readonly<Record<string, string | undefined>>): string {
  return join(environment['IOT_AGENT_RUNTIME_DIR'] || DEFAULT_RUNTIME_DIR, 'control.sock')
}

/** A key and certificate that were made elsewhere, if the configuration names them. */
export function providedPair(
  config: Settings | Config,
): { readonly certificateFile: string; readonly keyFile: string } | undefined {
  const { certificateFile, keyFile } = config.auth.x509
  return certificateFile === undefined || keyFile === undefined ? undefined : { certificateFile, keyFile }
}
