/** The way between devices and their cloud, with somebody on it who wants the devices off X.509. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/**
 * What becomes of a connection, from the moment on which a certificate of the victim is seen in its handshake (TLS 1.2 sends
 * it in the clear); one without is let through, so that SAS would be free. A number is that of a TLS alert, forged as fatal.
 *
 * `reset`, `close`, `stall`: at that moment. `close-later`, `reset-later`: once the handshake is over.
 */
export type Attack = 'reset' | 'close' | 'stall' | 'close-later' | 'reset-later' | number

/** What becomes of every connection before a byte of it is read: led elsewhere, or answered with this. */
export type Ambush = { readonly port: number } | { readonly says: Buffer } | 'reset'

export interface Road extends AsyncDisposable {
  /** On 127.0.0.1; the cloud listens on the same port of 127.0.0.2. */
  readonly port: number
  /** Devices by the common name of their certificates. */
  readonly attacks: Map<string, Attack>
  /** Connections that were attacked so far. */
  attacked(commonName: string): number
  ambush: Ambush | undefined
  /** Whether a connection is held open that nobody answers. */
  readonly isStalling: () => boolean
}

export const CLOUD_ADDRESS = '127.0.0.2'

/** Source: RFC 5246 sections 6.2.1 and 7.4. */
const APPLICATION_DATA = 23
const ALERT = 21
const FATAL = 2

export async function layRoad(): Promise<Road> {
  const sockets = new Set<Socket>()
  const stalled = new Set<Socket>()
  const attacks = new Map<string, Attack>()
  const counts = new Map<string, number>()
  let ambush: Ambush | undefined

  const server = createServer({ noDelay: true }, (device) => {
    join(device)
    if (ambush === 'reset') return void device.resetAndDestroy()
    if (ambush !== undefined && 'says' in ambush) return void device.end(ambush.says)
    const target =
      ambush === undefined ? { host: CLOUD_ADDRESS, port: road.port } : { host: '127.0.0.1', port: ambush.port }
    const cloud = connect({ ...target, noDelay: true })
    join(cloud)
    let seen: Buffer = Buffer.alloc(0)
    let attack: Attack | undefined
    device.on('data', (bytes) => {
      if (attack === 'stall') return undefined
      if (attack === undefined) {
        seen = Buffer.concat([seen, bytes])
        const victim = [...attacks.keys()].find((name) => seen.includes(name))
        attack = victim === undefined ? undefined : attacks.get(victim)
        if (victim !== undefined) counts.set(victim, (counts.get(victim) ?? 0) + 1)
        if (attack !== undefined && strike(attack, device, cloud)) return undefined
      }
      if (bytes[0] === APPLICATION_DATA && attack === 'close-later') return void device.destroy()
      if (bytes[0] === APPLICATION_DATA && attack === 'reset-later') return void device.resetAndDestroy()
      return void cloud.write(bytes)
    })
    cloud.on('data', (bytes) => (attack === 'stall' ? undefined : device.write(bytes)))
    device.on('close', () => cloud.destroy())
    cloud.on('close', () => (attack === 'stall' ? undefined : device.destroy()))
  })

  /** Whether it is all over with the connection. */
  function strike(attack: Attack, device: Socket, cloud: Socket): boolean {
    if (attack === 'close-later' || attack === 'reset-later') return false
    if (attack === 'stall') {
      stalled.add(device)
      device.on('close', () => stalled.delete(device))
      return true
    }
    cloud.destroy()
    if (attack === 'reset') device.resetAndDestroy()
    else if (attack === 'close') device.end()
    else device.end(alert(attack))
    return true
  }

  function join(socket: Socket): void {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const road: Road = {
    port: (server.address() as AddressInfo).port,
    attacks,
    attacked: (name) => counts.get(name) ?? 0,
    get ambush() {
      return ambush
    },
    set ambush(next) {
      ambush = next
    },
    isStalling: () => stalled.size > 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return road
}

/** A fatal alert in the clear, which anybody can write who sees the connection. */
export function alert(description: number): Buffer {
  return Buffer.from([ALERT, 3, 3, 0, 2, FATAL, description])
}
