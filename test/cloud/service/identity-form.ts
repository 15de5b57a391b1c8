/** Reads a device identity as the registry takes it, and writes it as the registry shows it. */
import { randomBytes } from 'node:crypto'
import * as v from 'valibot'
import type { Hub, Identity } from '../model.ts'
import { ServiceError } from '../model.ts'

/** A hub, with what the registry shows beside identities. */
export type ServiceHub = Hub & { queued?(deviceId: string): number }

const text = v.nullish(v.string(), '')

const form = v.object({
  deviceId: v.nullish(v.string()),
  status: v.nullish(v.picklist(['enabled', 'disabled']), 'enabled'),
  statusReason: v.nullish(v.pipe(v.string(), v.maxLength(128)), ''),
  authentication: v.nullish(
    v.object({
      type: v.nullish(v.picklist(['sas', 'selfSigned', 'certificateAuthority', 'none'])),
      symmetricKey: v.nullish(v.object({ primaryKey: text, secondaryKey: text })),
      x509Thumbprint: v.nullish(v.object({ primaryThumbprint: text, secondaryThumbprint: text })),
    }),
  ),
})

/** Azure's own "never". */
const NEVER = '0001-01-01T00:00:00Z'

/**
 * The identity that a body asks for. Keys that are left out are generated; a `sas` identity has both or neither given.
 *
 * @throws ServiceError 400004 for what breaks the rules
 */
export function parseIdentity(deviceId: string, body: unknown, present: Identity | undefined): Identity {
  if (!/^[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}$/.test(deviceId)) throw invalid(`${deviceId} is no device ID.`)
  const parsed = v.safeParse(form, body)
  if (!parsed.success)
    throw invalid(parsed.issues.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`).join(', '))
  const wish = parsed.output
  if (wish.deviceId && wish.deviceId !== deviceId)
    throw invalid(`deviceId ${wish.deviceId} is not the one of the path.`)
  const thumbprints = wish.authentication?.x509Thumbprint
  const hasThumbprint = Boolean(thumbprints?.primaryThumbprint || thumbprints?.secondaryThumbprint)
  const type = wish.authentication?.type ?? (hasThumbprint ? 'selfSigned' : 'sas')
  if (type === 'selfSigned' && !hasThumbprint) throw invalid('selfSigned needs a thumbprint.')
  return {
    deviceId,
    generationId: present?.generationId ?? '',
    etag: '',
    status: wish.status,
    statusReason: wish.statusReason,
    authentication: {
      type,
      symmetricKey:
        type === 'sas' ? keysOf(wish.authentication?.symmetricKey) : { primaryKey: null, secondaryKey: null },
      x509Thumbprint: {
        primaryThumbprint: thumbprintOf(thumbprints?.primaryThumbprint),
        secondaryThumbprint: thumbprintOf(thumbprints?.secondaryThumbprint),
      },
    },
  }
}

/** As GET shows it. */
export function showIdentity(hub: ServiceHub, identity: Identity): Record<string, unknown> {
  const { deviceId } = identity
  return {
    ...identity,
    connectionState: connectionState(hub, deviceId),
    connectionStateUpdatedTime: NEVER,
    statusUpdatedTime: NEVER,
    lastActivityTime: NEVER,
    cloudToDeviceMessageCount: hub.queued?.(deviceId) ?? 0,
    capabilities: { iotEdge: false },
  }
}

/** The twin of the service side: root metadata, tags and both property sections. Undefined without a twin. */
export function showTwin(hub: ServiceHub, identity: Identity): Record<string, unknown> | undefined {
  const { deviceId, status, statusReason, etag: deviceEtag, authentication } = identity
  const twin = hub.twin(deviceId)
  if (twin === undefined) return undefined
  return {
    ...{ deviceId, etag: twin.etag, deviceEtag, status, statusReason, version: twin.version, tags: twin.tags },
    statusUpdateTime: NEVER,
    connectionState: connectionState(hub, deviceId),
    lastActivityTime: NEVER,
    cloudToDeviceMessageCount: hub.queued?.(deviceId) ?? 0,
    authenticationType: authentication.type,
    x509Thumbprint: authentication.x509Thumbprint,
    properties: {
      desired: { ...twin.desired, $version: twin.desiredVersion },
      reported: { ...twin.reported, $version: twin.reportedVersion },
    },
    capabilities: { iotEdge: false },
  }
}

function connectionState(hub: ServiceHub, deviceId: string): 'Connected' | 'Disconnected' {
  return hub.isConnected(deviceId) ? 'Connected' : 'Disconnected'
}

function keysOf(given: { primaryKey: string; secondaryKey: string } | null | undefined) {
  const { primaryKey, secondaryKey } = given ?? { primaryKey: '', secondaryKey: '' }
  if (primaryKey === '' && secondaryKey === '') return { primaryKey: makeKey(), secondaryKey: makeKey() }
  if (![primaryKey, secondaryKey].every(isKey)) throw invalid('sas needs two keys, each the base64 of 16 to 64 bytes.')
  return { primaryKey, secondaryKey }
}

function makeKey(): string {
  return randomBytes(32).toString('base64')
}

function isKey(key: string): boolean {
  const bytes = Buffer.from(key, 'base64')
  return bytes.toString('base64') === key && bytes.length >= 16 && bytes.length <= 64
}

function thumbprintOf(given: string | undefined): string | null {
  if (given === undefined || given === '') return null
  const bare = given.replaceAll(/[:\s]/g, '').toUpperCase()
  if (!/^(?:[\dA-F]{40}|[\dA-F]{64})$/.test(bare)) throw invalid('a thumbprint is SHA-1 or SHA-256 in hexadecimal.')
  return bare
}

function invalid(message: string): ServiceError {
  return new ServiceError(400004, message)
}
