/** Twins, queries and direct methods of one hub. */
import { assertEtag } from '../dps/etag.ts'
import { ServiceError } from '../model.ts'
import type { Call, Reply } from './exchange.ts'
import { isObject, objectOf } from './exchange.ts'
import { knownIdentity } from './hub-registry.ts'
import type { ServiceHub } from './identity-form.ts'
import { showTwin } from './identity-form.ts'
import { answerQuery } from './paging.ts'

/** Longest time that a device may be given for the answer to a method, in seconds. */
const MAX_RESPONSE_SECONDS = 300
const DEFAULT_RESPONSE_SECONDS = 30

export function getTwin(hub: ServiceHub, deviceId: string): Reply {
  const body = showTwin(hub, knownIdentity(hub, deviceId))
  if (body === undefined) throw new ServiceError(404001, `Device ${deviceId} has no twin.`)
  return { status: 200, headers: { etag: `"${String(body['etag'])}"` }, body }
}

/** PATCH merges, PUT replaces the sections that the body names. */
export function changeTwin(hub: ServiceHub, deviceId: string, call: Call): Reply {
  knownIdentity(hub, deviceId)
  const body = objectOf(call.json(), 'The twin')
  assertEtag(call.header('if-match'), hub.twin(deviceId)?.etag ?? '')
  const properties = body['properties'] === undefined ? {} : objectOf(body['properties'], 'properties')
  const patch = {
    ...(body['tags'] === undefined ? {} : { tags: objectOf(body['tags'], 'tags') }),
    ...(properties['desired'] === undefined ? {} : { desired: withoutStamps(properties['desired']) }),
  }
  hub.patchTwin(deviceId, patch, call.method === 'PUT')
  return getTwin(hub, deviceId)
}

/** @throws ServiceError 400004 for a call that breaks the rules; what `invokeMethod` throws */
export async function invokeMethod(hub: ServiceHub, deviceId: string, call: Call): Promise<Reply> {
  knownIdentity(hub, deviceId)
  const body = objectOf(call.json(), 'The method')
  const { methodName: name, responseTimeoutInSeconds: seconds = DEFAULT_RESPONSE_SECONDS } = body
  if (typeof name !== 'string' || name === '') throw new ServiceError(400004, 'methodName is missing.')
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= MAX_RESPONSE_SECONDS))
    throw new ServiceError(400004, `responseTimeoutInSeconds is at most ${MAX_RESPONSE_SECONDS}.`)
  const payload = body['payload'] ?? null
  const result = await hub.invokeMethod(deviceId, { name, payload, responseTimeoutSeconds: seconds })
  return { status: 200, body: result }
}

export function queryDevices(hub: ServiceHub, call: Call): Reply {
  const twins = ({ source }: { source: string }) => {
    if (source.toLowerCase() !== 'devices') throw new ServiceError(400004, `Query not supported: FROM ${source}.`)
    return hub
      .identities()
      .map((identity) => showTwin(hub, identity))
      .filter((twin) => twin !== undefined)
  }
  return answerQuery(call, { documents: twins, wholeRow: 'Twin' })
}

/** A twin that was read and sends its stamps back means no change by them. */
function withoutStamps(desired: unknown): Record<string, unknown> {
  if (!isObject(desired)) throw new ServiceError(400004, 'properties.desired must be a JSON object.')
  const { $metadata: _metadata, $version: _version, ...rest } = desired
  return rest
}
