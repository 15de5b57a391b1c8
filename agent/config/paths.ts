import { join } from 'node:path'
import { deriveCommand } from './command-source.ts'
import type { CommandSource } from './command-source.ts'
import { parseInstant } from './instant.ts'
import type { KeyType } from '../pki/key.ts'
import { allowedMethods } from './methods.ts'
import type { MethodName } from './methods.ts'
import { DEFAULT_RUNTIME_DIR } from './schema.ts'
import type { Settings } from './schema.ts'

const CONTROL_SOCKET = 'control.sock'
const TELEMETRY_SOCKET = 'telemetry.sock'

/** Where the agent keeps what it keeps. Every path is absolute. */
export interface Paths {
  readonly stateDir: string
  readonly runtimeDir: string
  /** Certificate requests of the folder issuer, for whoever signs them. */
  readonly requestsDir: string
  /** Where the folder issuer looks for the signed chain. */
  readonly issuedDir: string
  /** The hub that DPS assigned last, to the certificate and to the symmetric key. */
  readonly assignmentFile: string
  readonly sasAssignmentFile: string
  /** What was done about the credentials, one line each. */
  readonly auditFile: string
  /** Under which ID a certificate request went to the hub. */
  readonly hubRequestFile: string
  /** The last time that was believed. */
  readonly clockFile: string
  /** Samples that the cloud has not acknowledged yet. */
  readonly outboxFile: string
  readonly controlSocket: string
  /** Where programs of this device hand in samples. */
  readonly telemetrySocket: string
}

/** The whole configuration as the program sees it: what was written, defaults, and what follows from both. */
export interface Config extends Omit<Settings, 'auth' | 'clock' | 'issuer' | 'methods' | 'paths' | 'telemetry'> {
  readonly auth: Omit<Settings['auth'], 'fallback' | 'x509'> & {
    readonly x509: Settings['auth']['x509'] & { readonly keyType: KeyType }
    /** Lane of a device that has no history yet. */
    readonly born: 'sas' | 'x509'
    /** `untilMs` is wall time; undefined when no end is written. */
    readonly fallback: Settings['auth']['fallback'] & { readonly untilMs: number | undefined }
  }
  /** `skewSource` is `host:port`, or `off`. */
  readonly clock: Settings['clock'] & { readonly skewSource: string }
  readonly methods: { readonly allowed: readonly MethodName[] }
  readonly telemetry: Omit<Settings['telemetry'], 'command'> & { readonly command: readonly CommandSource[] }
  readonly issuer: Settings['issuer'] & { readonly folder: string }
  readonly paths: Paths
  /** What all of this follows from. */
  readonly written: Settings
}

/** Fills in what follows from other keys. */
export function deriveConfig(settings: Settings): Config {
  const { stateDir, runtimeDir } = settings.paths
  const folder = settings.issuer.folder ?? stateDir
  return {
    ...settings,
    auth: deriveAuth(settings),
    clock: { ...settings.clock, skewSource: skewSourceOf(settings) },
    methods: { allowed: allowedMethods(settings.methods.allowed) },
    telemetry: { ...settings.telemetry, command: settings.telemetry.command.map(deriveCommand) },
    issuer: { ...settings.issuer, folder },
    paths: {
      stateDir,
      runtimeDir,
      requestsDir: join(folder, 'requests'),
      issuedDir: join(folder, 'issued'),
      assignmentFile: join(stateDir, 'assignment.json'),
      sasAssignmentFile: join(stateDir, 'assignment-sas.json'),
      hubRequestFile: join(stateDir, 'hub-request.json'),
      auditFile: join(stateDir, 'audit.ndjson'),
      clockFile: join(stateDir, 'clock'),
      outboxFile: join(stateDir, 'outbox.db'),
      controlSocket: join(runtimeDir, CONTROL_SOCKET),
      telemetrySocket: join(runtimeDir, TELEMETRY_SOCKET),
    },
    written: settings,
  }
}

/** Whether certificates come by certificate management, whose documents ask for P-384. Source: azure-protocols, 3.5. */
export function isManagedKind(kind: Settings['issuer']['kind']): boolean {
  return kind === 'dps' || kind === 'hub-credentials'
}

function deriveAuth({ auth, issuer }: Settings): Config['auth'] {
  const { keyFile, connectionStringFile } = auth.sas
  const hasSas = keyFile !== undefined || connectionStringFile !== undefined
  const { until } = auth.fallback
  return {
    ...auth,
    born: auth.mode ?? (hasSas ? 'sas' : 'x509'),
    x509: { ...auth.x509, keyType: auth.x509.keyType ?? (isManagedKind(issuer.kind) ? 'ec-p384' : 'ec-p256') },
    fallback: { ...auth.fallback, untilMs: until === undefined ? undefined : parseInstant(until) },
  }
}

/** HTTPS, where nothing else is written. */
const HTTPS_PORT = 443

/** The port of `dps.host` is that of MQTT, so it is not taken over. */
function skewSourceOf({ clock, dps }: Settings): string {
  const source = clock.skewSource ?? dps.host.replace(/:\d+$/, '')
  return source === 'off' || source.includes(':') ? source : `${source}:${HTTPS_PORT}`
}

type Environment = Readonly<Record<string, string | undefined>>

/** Where a running agent can be asked when the configuration is of no use: a shell may lack what the service has. */
export function likelyControlSocket(environment: Environment): string {
  return join(likelyRuntimeDir(environment), CONTROL_SOCKET)
}

/** Where samples can be handed in when the configuration is of no use, as for `likelyControlSocket`. */
export function likelyTelemetrySocket(environment: Environment): string {
  return join(likelyRuntimeDir(environment), TELEMETRY_SOCKET)
}

function likelyRuntimeDir(environment: Environment): string {
  return environment['IOT_AGENT_RUNTIME_DIR'] || DEFAULT_RUNTIME_DIR
}

/** A key and certificate that were made elsewhere, if the configuration names them. */
export function providedPair(
  config: Settings | Config,
): { readonly certificateFile: string; readonly keyFile: string } | undefined {
  const { certificateFile, keyFile } = config.auth.x509
  return certificateFile === undefined || keyFile === undefined ? undefined : { certificateFile, keyFile }
}
