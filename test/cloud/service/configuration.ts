/** What an automatic device configuration does when it is evaluated once. */
import { isObject } from './exchange.ts'
import { showTwin } from './identity-form.ts'
import type { ServiceHub } from './identity-form.ts'
import { ServiceError } from '../model.ts'
import { parseQuery } from './query-parse.ts'
import { runQuery } from './query-run.ts'

export interface Configuration {
  /** As `tags.wave='pilot'`, over tags, desired and reported properties; `*` targets every device. */
  readonly targetCondition: string
  /** Merged into the desired properties of each targeted device. */
  readonly desired: Record<string, unknown>
}

/**
 * Lays a configuration over the devices of a hub that it targets now. Azure evaluates again every few minutes, takes the
 * settings back from devices that leave the target, and knows priorities; a test does such steps by hand.
 *
 * @returns the device IDs that were targeted
 * @throws ServiceError 400004 for a condition that is not supported
 */
export function applyConfiguration(hub: ServiceHub, { targetCondition, desired }: Configuration): readonly string[] {
  const where = targetCondition.trim() === '*' ? '' : ` WHERE ${targetCondition}`
  const parsed = parseQuery(`SELECT deviceId FROM devices${where}`)
  if (!parsed.ok) throw new ServiceError(400004, `Target condition not supported: ${parsed.problem}.`)
  const twins = hub.identities().map((identity) => showTwin(hub, identity))
  const targeted = runQuery(parsed.value, twins.filter(isObject)).map(({ deviceId }) => String(deviceId))
  for (const deviceId of targeted) hub.patchTwin(deviceId, { desired })
  return targeted
}
