/** What the record of the cloud says of a device that moves. */
import assert from 'node:assert/strict'
import { atHub, eventsOf } from './agent-kit.ts'
import type { Unit } from './transition-kit.ts'

/** Connections to hubs, oldest first: `sas`, `x509`. */
export function sessionsOf({ bed, id }: Pick<Unit, 'bed' | 'id'>, since = 0): string[] {
  return eventsOf(bed.cloud, 'connected', id, since)
    .filter(atHub(bed.cloud))
    .map(({ auth }) => auth)
}

/** The enrollments through which DPS has assigned the device, oldest first. */
export function registrationsOf({ bed, id }: Pick<Unit, 'bed' | 'id'>, since = 0): string[] {
  return eventsOf(bed.cloud, 'registered', id, since).map(({ enrollment }) => enrollment)
}

/** The states in the order in which the twin was told of them. */
export function statesOf({ bed, id }: Pick<Unit, 'bed' | 'id'>, since = 0): string[] {
  return eventsOf(bed.cloud, 'reported', id, since).flatMap(({ patch }) => {
    const { state } = (patch['auth'] ?? {}) as { state?: string }
    return state === undefined ? [] : [state]
  })
}

/** Fails if a device ever had, or opened, a connection to a hub beside another one. */
export function assertOneAtATime({ bed, id }: Pick<Unit, 'bed' | 'id'>): void {
  let open = 0
  for (const event of bed.cloud.record.events()) {
    if (event.kind !== 'connected' && event.kind !== 'disconnected') continue
    if (event.clientId !== id || !atHub(bed.cloud)(event)) continue
    if (event.kind === 'disconnected') assert.doesNotMatch(event.reason, /took over/, `of ${id} at event ${event.seq}`)
    open += event.kind === 'connected' ? 1 : -1
    assert.ok(open >= 0 && open <= 1, `${open} connections of ${id} at event ${event.seq}`)
  }
}

/** One message as the hub has it. */
export interface Arrived {
  readonly messageId: string
  readonly createdAt: string
  /** What the hub says of the credential of the connection. */
  readonly stamped: string
}

/** Every message of a device, oldest first; one that came twice is there twice. */
export function arrivalsOf({ bed, id }: Pick<Unit, 'bed' | 'id'>, since = 0): Arrived[] {
  return eventsOf(bed.cloud, 'telemetry', id, since).map(({ message: { system } }) => ({
    messageId: system['message-id'] ?? '',
    createdAt: system['iothub-creation-time-utc'] ?? '',
    stamped: (JSON.parse(system['iothub-connection-auth-method'] ?? '{}') as { type: string }).type,
  }))
}
