/** A cable between a device and its cloud, which a test can pull or damage. TLS goes through it untouched. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { CLOUD_ADDRESS } from './road.ts'

export interface Cable extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number
  become(state: CableState): void
  /** Cuts every connection now; the next one is let through. */
  cut(): void
  /** Nobody listens any more: connections are cut, and refused by the kernel. */
  unplug(): Promise<void>
  plugIn(): Promise<void>
  /** Connections that are open now. */
  open(): number
}

/**
 * `holding`: what the cloud answers waits until the cable is good again. `swallowing`: it is lost, and nobody notices.
 * `dead`: whatever either side says is lost, a goodbye too, and nobody notices; new connections hear nothing.
 * `pulled`: cut now, and refused from now on.
 */
export type CableState = 'good' | 'holding' | 'swallowing' | 'dead' | 'pulled'

/**
 * @param cloudPort port of the cloud on 127.0.0.1; the cable's own port of 127.0.0.2, when left out: then DPS and every
 *   hub are at its other end, under the addresses that they give themselves
 */
export async function layCable(cloudPort?: number): Promise<Cable> {
  let state: CableState = 'good'
  const sockets = new Set<Socket>()
  const clouds = new Set<Socket>()
  /** Those through which something was lost: TLS cannot go on in them. */
  const torn = new WeakSet<Socket>()

  const server = createServer((device) => {
    if (state === 'pulled') return device.destroy()
    const cloud = cloudPort === undefined ? connect(cable.port, CLOUD_ADDRESS) : connect(cloudPort, '127.0.0.1')
    join(device, cloud)
    join(cloud, device)
    clouds.add(cloud)
    cloud.on('close', () => clouds.delete(cloud))
    if (state === 'holding') cloud.pause()
    device.on('data', (bytes) => (isLost(device) ? undefined : cloud.write(bytes)))
    cloud.on('data', (bytes) => (state === 'swallowing' || isLost(device) ? undefined : device.write(bytes)))
    return undefined
  })

  function isLost(device: Socket): boolean {
    if (state === 'dead') torn.add(device)
    return torn.has(device)
  }

  /** When one end breaks, so does the other, unless the news of it is lost too. */
  function join(one: Socket, other: Socket): void {
    sockets.add(one)
    one.on('error', () => one.destroy())
    one.on('close', () => {
      sockets.delete(one)
      if (state !== 'dead') other.destroy()
    })
  }

  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject)
        resolve()
      })
    })
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    cut()
    await closed
  }

  await listen(0)
  const cable: Cable = {
    port: (server.address() as AddressInfo).port,
    cut,
    become(next) {
      state = next
      if (next === 'pulled') cut()
      for (const cloud of clouds) {
        if (next === 'holding') cloud.pause()
        else cloud.resume()
      }
    },
    unplug: close,
    plugIn: () => listen(cable.port),
    open: () => clouds.size,
    [Symbol.asyncDispose]: close,
  }
  return cable
}
