/** A hub, a raw client of a device on it, and words for what the two say about messages. */
import assert from 'node:assert/strict'

import { startCloud, type CloudOptions } from '../cloud/cloud.ts'
import type { Telemetry } from '../cloud/model.ts'
import { connectDevice, expectPacket, publication, type WireClient } from './cloud-client.ts'

export const EVENTS = 'devices/edge-1/messages/events/'

export async function startHub(options: CloudOptions = {}) {
  const cloud = await startCloud({ hubHosts: ['hub-1.localhost'], ...options })
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  const connect = (more: { readonly keepalive?: number } = {}) =>
    connectDevice(cloud, { deviceId: 'edge-1', credential, ...more })
  return Object.assign(cloud, {
    connect,
    /** A second device. */
    async connectOther() {
      const other = await cloud.authority.makeDevice('edge-2')
      cloud.hub.assign('edge-2', { type: 'certificateAuthority' }, undefined)
      return connectDevice(cloud, { deviceId: 'edge-2', credential: other })
    },
    /** The messages that the hub has taken, oldest first. */
    taken: (): readonly Telemetry[] =>
      cloud.record.events().flatMap((event) => (event.kind === 'telemetry' ? [event.message] : [])),
    /** Waits until a connection has ended for this reason. */
    closedFor: (reason: RegExp, since = 0) =>
      cloud.record.waitFor((event) => event.kind === 'disconnected' && reason.test(event.reason), { since }),
  })
}

export interface Content {
  readonly bag?: string
  readonly body?: string | Buffer
}

/** Publishes one message at QoS 1. */
export function publish(client: WireClient, id: number, { bag = '', body = 'x' }: Content = {}): void {
  client.send(publication(EVENTS + bag, body, 1, id))
}

/** The next packet is the PUBACK of this message. */
export async function acknowledged(client: WireClient, id: number): Promise<void> {
  assert.equal(expectPacket(await client.next(), 'puback').messageId, id)
}
