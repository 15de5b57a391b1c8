/** The identity registry of one hub: create, read, update, delete, in bulk, and the figures. */
import { assertEtag } from '../dps/etag.ts'
import type { Identity } from '../model.ts'
import { ServiceError } from '../model.ts'
import type { Call, Reply } from './exchange.ts'
import { isObject, objectOf } from './exchange.ts'
import type { ServiceHub } from './identity-form.ts'
import { parseIdentity, showIdentity } from './identity-form.ts'

/** Largest list of GET /devices, and of one bulk call. */
const MAX_LIST = 1000
const MAX_BULK = 100

/** @throws ServiceError 404001 */
export function knownIdentity(hub: ServiceHub, deviceId: string): Identity {
  const identity = hub.identity(deviceId)
  if (identity === undefined) throw new ServiceError(404001, `Device ${deviceId} not registered.`)
  return identity
}

export function listDevices(hub: ServiceHub, call: Call): Reply {
  const top = Math.min(Number(call.query.get('top') ?? MAX_LIST) || MAX_LIST, MAX_LIST)
  return {
    status: 200,
    body: hub
      .identities()
      .slice(0, top)
      .map((identity) => showIdentity(hub, identity)),
  }
}

export function getDevice(hub: ServiceHub, deviceId: string): Reply {
  const identity = knownIdentity(hub, deviceId)
  return { status: 200, headers: { etag: `"${identity.etag}"` }, body: showIdentity(hub, identity) }
}

/** Creates without If-Match, updates with it. */
export function putDevice(hub: ServiceHub, deviceId: string, call: Call): Reply {
  writeDevice(hub, deviceId, objectOf(call.json(), 'The device'), call.header('if-match'))
  return getDevice(hub, deviceId)
}

export function deleteDevice(hub: ServiceHub, deviceId: string, ifMatch: string | undefined): Reply {
  assertEtag(ifMatch, knownIdentity(hub, deviceId).etag)
  hub.removeIdentity(deviceId)
  return { status: 204 }
}

export function deviceStatistics(hub: ServiceHub): Reply {
  const identities = hub.identities()
  const enabled = identities.filter((identity) => identity.status === 'enabled').length
  const body = {
    totalDeviceCount: identities.length,
    enabledDeviceCount: enabled,
    disabledDeviceCount: identities.length - enabled,
  }
  return { status: 200, body }
}

export function serviceStatistics(hub: ServiceHub): Reply {
  const connected = hub.identities().filter((identity) => hub.isConnected(identity.deviceId)).length
  return { status: 200, body: { connectedDeviceCount: connected } }
}

/** Each item by itself: what fails is in `errors`, and the status is 400 when anything did. */
export function bulkDevices(hub: ServiceHub, call: Call): Reply {
  const items = call.json()
  if (!Array.isArray(items) || items.length === 0 || items.length > MAX_BULK)
    throw new ServiceError(400004, `A bulk call takes 1 to ${MAX_BULK} devices.`)
  const errors = items.flatMap((item: unknown) => {
    const problem = bulkProblem(hub, item)
    return problem === undefined ? [] : [problem]
  })
  const isSuccessful = errors.length === 0
  return { status: isSuccessful ? 200 : 400, body: { isSuccessful, errors, warnings: [] } }
}

function bulkProblem(hub: ServiceHub, item: unknown): Record<string, unknown> | undefined {
  const deviceId = isObject(item) && typeof item['id'] === 'string' ? item['id'] : ''
  try {
    runBulkItem(hub, deviceId, isObject(item) ? item : {})
    return undefined
  } catch (cause) {
    if (!(cause instanceof ServiceError)) throw cause
    return { deviceId, errorCode: cause.code, errorStatus: cause.message }
  }
}

function runBulkItem(hub: ServiceHub, deviceId: string, item: Record<string, unknown>): void {
  const mode = String(item['importMode']).toLowerCase()
  const etag = typeof item['etag'] === 'string' ? item['etag'] : '*'
  switch (mode) {
    case 'create':
      return writeDevice(hub, deviceId, item, undefined)
    case 'update':
      return writeDevice(hub, deviceId, item, '*')
    case 'updateifmatchetag':
      return writeDevice(hub, deviceId, item, etag)
    case 'createorupdate':
      return writeDevice(hub, deviceId, item, hub.has(deviceId) ? '*' : undefined)
    case 'createorupdateifmatchetag':
      return writeDevice(hub, deviceId, item, hub.has(deviceId) ? etag : undefined)
    case 'delete':
      return void deleteDevice(hub, deviceId, '*')
    case 'deleteifmatchetag':
      return void deleteDevice(hub, deviceId, etag)
    default:
      throw new ServiceError(400004, `importMode ${mode} is not known.`)
  }
}

function writeDevice(hub: ServiceHub, deviceId: string, body: unknown, ifMatch: string | undefined): void {
  const present = hub.identity(deviceId)
  if (ifMatch === undefined && present !== undefined)
    throw new ServiceError(409001, `A device with ID '${deviceId}' is already registered.`)
  if (ifMatch !== undefined) assertEtag(ifMatch, knownIdentity(hub, deviceId).etag)
  hub.putIdentity(parseIdentity(deviceId, body, present))
}
