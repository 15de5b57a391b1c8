import { isDeepStrictEqual } from 'node:util'
import { pathOf } from './key.ts'
import type { Settings } from './schema.ts'

/** What makes a changed value count: `reload` while the agent runs, `restart` its next start. */
export type TakenUpBy = 'reload' | 'restart'

/**
 * Every key of the schema, a list as one. What decides who the device is, where its files are and what a connection was
 * made with waits for a restart.
 */
export const reloadKeys: Readonly<Record<string, TakenUpBy>> = {
  'device.registrationId': 'restart',
  'device.idRule': 'restart',
  'dps.host': 'restart',
  'dps.idScope': 'restart',
  'auth.mode': 'restart',
  'auth.allowDowngrade': 'reload',
  'auth.movesPerDay': 'reload',
  'auth.registerWithinSeconds': 'reload',
  'auth.proveWithinSeconds': 'reload',
  'auth.soakSeconds': 'reload',
  'auth.x509.enabled': 'restart',
  'auth.x509.certificateFile': 'restart',
  'auth.x509.keyFile': 'restart',
  'auth.x509.keyStore': 'restart',
  'auth.x509.encryptionKeyFile': 'restart',
  'auth.x509.token': 'restart',
  'auth.x509.pkcs11Engine': 'restart',
  'auth.x509.pinFile': 'restart',
  'auth.x509.keyType': 'restart',
  'auth.sas.keyFile': 'restart',
  'auth.sas.connectionStringFile': 'restart',
  'auth.sas.enrollment': 'restart',
  'auth.renewal.enabled': 'reload',
  'auth.renewal.percent': 'reload',
  'auth.renewal.spreadPercent': 'reload',
  'auth.renewal.floorSeconds': 'reload',
  'auth.fallback.enabled': 'reload',
  'auth.fallback.until': 'reload',
  'auth.fallback.refusals': 'reload',
  'auth.fallback.holdOffSeconds': 'reload',
  'auth.fallback.perDay': 'reload',
  'auth.fallback.returnAfterSeconds': 'reload',
  'auth.fallback.retireAfterDays': 'reload',
  'issuer.kind': 'restart',
  'issuer.folder': 'restart',
  'issuer.program': 'restart',
  'issuer.timeoutSeconds': 'restart',
  'issuer.est.server': 'restart',
  'issuer.est.label': 'restart',
  'issuer.est.caFile': 'restart',
  'issuer.est.user': 'restart',
  'issuer.est.passwordFile': 'restart',
  'issuer.est.certificateFile': 'restart',
  'issuer.est.keyFile': 'restart',
  'issuer.dps.certificateFile': 'restart',
  'issuer.dps.keyFile': 'restart',
  'telemetry.intervalSeconds': 'reload',
  'telemetry.device': 'reload',
  'telemetry.durability': 'reload',
  'telemetry.batchSamples': 'reload',
  'telemetry.batchSeconds': 'reload',
  'telemetry.compression': 'reload',
  'telemetry.outbox.maxMegabytes': 'reload',
  'telemetry.outbox.maxDays': 'reload',
  'telemetry.drain.messagesPerSecond': 'reload',
  'telemetry.drain.jitterSeconds': 'reload',
  'telemetry.socket.enabled': 'restart',
  'telemetry.socket.samplesPerSecond': 'reload',
  'telemetry.command': 'reload',
  'hub.keepAliveSeconds': 'reload',
  // It bounds a wait at the start, and nothing else.
  'clock.syncWaitSeconds': 'restart',
  'clock.skewSource': 'reload',
  'methods.allowed': 'reload',
  'log.level': 'reload',
  'tls.caFile': 'restart',
  'paths.stateDir': 'restart',
  'paths.runtimeDir': 'restart',
}

/** The decision for a key as `describeKeys` names it; a key of a list shares that of the list. Undefined without one. */
export function takenUpBy(key: string): TakenUpBy | undefined {
  const name = key.replace(/\[\].*$/, '')
  return Object.hasOwn(reloadKeys, name) ? reloadKeys[name] : undefined
}

export interface Comparison {
  /** What is to be in force from now on. */
  readonly settings: Settings
  /** Keys whose new values are in it. */
  readonly taken: readonly string[]
  /** Keys whose new values wait for a restart. */
  readonly pending: readonly string[]
}

/** Compares what is in force with what is written now, key by key. */
export function compareSettings(inForce: Settings, written: Settings): Comparison {
  const changed = Object.keys(reloadKeys).filter(
    (key) => !isDeepStrictEqual(valueAt(inForce, key), valueAt(written, key)),
  )
  const live = changed.filter((key) => reloadKeys[key] === 'reload')
  const all = withValues(inForce, written, live)
  const taken = isAllowed(all) ? live : live.filter((key) => !key.startsWith('auth.fallback.'))
  const pending = changed.filter((key) => !taken.includes(key))
  return { settings: taken === live ? all : withValues(inForce, written, taken), taken, pending }
}

/** A fallback and its secret are written together, and the secret waits for a restart: so does the fallback then. */
function isAllowed({ auth }: Settings): boolean {
  const { keyFile, connectionStringFile } = auth.sas
  return !auth.fallback.enabled || keyFile !== undefined || connectionStringFile !== undefined
}

type Tree = Readonly<Record<string, unknown>>

function valueAt(settings: Settings, key: string): unknown {
  return pathOf(key).reduce<unknown>((node, name) => (node as Tree | undefined)?.[name], settings)
}

function withValues(inForce: Settings, written: Settings, keys: readonly string[]): Settings {
  const put = (settings: Settings, key: string) => withValue(settings, pathOf(key).map(String), valueAt(written, key))
  return keys.reduce((settings, key) => put(settings, key) as Settings, inForce)
}

/** A value that is not written is left out, as the schema does. */
function withValue(node: Tree, [name = '', ...rest]: readonly string[], value: unknown): Tree {
  const { [name]: before, ...others } = node
  if (rest.length > 0) return { ...node, [name]: withValue(before as Tree, rest, value) }
  return value === undefined ? others : { ...node, [name]: value }
}
