/** A cable between a device and its cloud, which a test can pull or damage. TLS goes through it untouched. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface Cable extends AsyncDisposable {
  readonly port: number
  /** `swallowing`: what the cloud answers is lost, and nobody notices. `pulled`: cut now, and refused from now on. */
  become(state: 'good' | 'swallowing' | 'pulled'): void
}

/** @param port of the cloud, on loopback */
export async function layCable(port: number): Promise<Cable> {
  let state: 'good' | 'swallowing' | 'pulled' = 'good'
  const sockets = new Set<Socket>()
  const server = createServer((device) => {
    if (state === 'pulled') return device.destroy()
    const cloud = connect(port, '127.0.0.1')
    join(device, cloud)
    join(cloud, device)
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
    },
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
