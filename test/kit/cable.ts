/** A cable between a device and its cloud, which a test can pull or damage. TLS goes through it untouched. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface Cable extends AsyncDisposable {
  readonly port: number
  /**
   * `holding`: what the cloud answers waits until the cable is good again. `swallowing`: it is lost, and nobody notices.
   * `pulled`: cut now, and refused from now on.
   */
  become(state: CableState): void
}

type CableState = 'good' | 'holding' | 'swallowing' | 'pulled'

/** @param port of the cloud, on loopback */
export async function layCable(port: number): Promise<Cable> {
  let state: CableState = 'good'
  const sockets = new Set<Socket>()
  const clouds = new Set<Socket>()
  const server = createServer((device) => {
    if (state === 'pulled') return device.destroy()
    const cloud = connect(port, '127.0.0.1')
    join(device, cloud)
    join(cloud, device)
    clouds.add(cloud)
    cloud.on('close', () => clouds.delete(cloud))
    if (state === 'holding') cloud.pause()
    device.on('data', (bytes) => cloud.write(bytes))
    cloud.on('data', (bytes) => (state === 'swallowing' ? undefined : device.write(bytes)))
    return undefined
  })

  /** When one end breaks, so does the other. */
  function join(one: Socket, other: Socket): void {
    sockets.add(one)
    one.on('error', () => other.destroy())
    one.on('close', () => {
      sockets.delete(one)
      other.destroy()
    })
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    become(next) {
      state = next
      if (next === 'pulled') cut()
      for (const cloud of clouds) {
        if (next === 'holding') cloud.pause()
        else cloud.resume()
      }
    },
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
