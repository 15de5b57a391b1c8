/** What the tests of the whole agent share: a quick cloud, and words for what is seen in it. */
import { startCloud } from '../cloud/cloud.ts'
import type { Cloud, CloudOptions } from '../cloud/cloud.ts'
import type { CloudEvent } from '../cloud/model.ts'
import type { FakeClock } from '../kit/clock.ts'
import type { BootedAgent } from '../kit/device.ts'
import type { RecordedEvent } from '../cloud/record.ts'

export type EventOf<K extends CloudEvent['kind']> = Extract<RecordedEvent, { kind: K }>

/** The stand-in with one hub, an enrollment group for the fleet, and a DPS that makes nobody wait. */
export async function startFleetCloud(options: CloudOptions = {}): Promise<Cloud> {
  const cloud = await startCloud({ hubHosts: ['hub-1.localhost'], ...options })
  cloud.enrollFleet()
  calm(cloud)
  return cloud
}

/** Ends every fault. */
export function calm(cloud: Cloud): void {
  cloud.faults.reset()
  cloud.faults.set('retryAfterSeconds', 0)
  cloud.faults.set('pollsPerTenSeconds', 0)
}

/** The device that an event is about. */
export function deviceOf(event: RecordedEvent): string {
  if ('clientId' in event) return event.clientId
  if ('registrationId' in event) return event.registrationId
  if ('deviceId' in event) return event.deviceId
  return 'message' in event ? event.message.deviceId : ''
}

/** Every event of one kind about one device, oldest first. */
export function eventsOf<K extends CloudEvent['kind']>(cloud: Cloud, kind: K, id: string, since = 0): EventOf<K>[] {
  return cloud.record
    .events(since)
    .filter((event): event is EventOf<K> => event.kind === kind && deviceOf(event) === id)
}

/** Waits for an event of one kind about one device. */
export async function seen<K extends CloudEvent['kind']>(
  cloud: Cloud,
  kind: K,
  id: string,
  { since = 0, fits = () => true }: { since?: number; fits?: (event: EventOf<K>) => boolean } = {},
): Promise<EventOf<K>> {
  const event = await cloud.record.waitFor(
    (event) => event.kind === kind && deviceOf(event) === id && fits(event as EventOf<K>),
    { since, withinMs: 20_000 },
  )
  return event as EventOf<K>
}

/** Waits until a device is at its hub and has said all that there is to say: one message, and its part of the twin. */
export async function settled(cloud: Cloud, agent: BootedAgent, id: string): Promise<void> {
  await Promise.all([seen(cloud, 'telemetry', id), seen(cloud, 'reported', id)])
  await agent.until(({ telemetry }) => telemetry.acknowledged > 0 && telemetry.buffered === 0)
}

/** Connections to hubs, without those to DPS. */
export function atHub(cloud: Cloud): (event: { readonly host: string }) => boolean {
  return ({ host }) => host !== cloud.dps.host
}

/** Cuts the session of a device as an operator does who blocks it and thinks better of it at once. */
export function cutOff(cloud: Cloud, deviceId: string): void {
  block(cloud, deviceId)
  unblock(cloud, deviceId)
}

export function block(cloud: Cloud, deviceId: string): void {
  setStatus(cloud, deviceId, 'disabled')
}

export function unblock(cloud: Cloud, deviceId: string): void {
  setStatus(cloud, deviceId, 'enabled')
}

function setStatus(cloud: Cloud, deviceId: string, status: 'enabled' | 'disabled'): void {
  const identity = cloud.hub.identity(deviceId)
  if (identity === undefined) throw new Error(`the hub has no ${deviceId}`)
  cloud.hub.putIdentity({ ...identity, status })
}

/** Lets the pauses between the attempts of a device go by until it is connected. */
export async function reconnect(agent: BootedAgent, clock: FakeClock): Promise<void> {
  for (;;) {
    const { connection } = await agent.until(
      ({ connection }) => connection.state === 'connected' || connection.doing === 'waiting',
    )
    if (connection.state === 'connected') return
    await clock.advance(Math.max(1, (connection.retryAtMs ?? 0) - clock.now()))
  }
}
