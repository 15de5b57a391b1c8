/** The stand-in of the cloud beside a booted machine: it listens on the loopback that both share, on ports of its own. */
import { readFile } from 'node:fs/promises'
import type { Cloud } from '../../cloud/cloud.ts'
import { eventsOf, startFleetCloud } from '../../integration/agent-kit.ts'
import type { EventOf } from '../../integration/agent-kit.ts'
import type { Machine } from './machine.ts'

/** Where a machine keeps what it trusts. */
const CA_FILE = '/etc/iot-device-agent/ca.pem'
export const CONFIG_FILE = '/etc/iot-device-agent/config.toml'

/** A device and its cloud, as a test looks at them. */
export interface Beside extends AsyncDisposable {
  readonly cloud: Cloud
  /** Number of the newest event: what `next` passes over. */
  seq(): number
  connects(since?: number): readonly EventOf<'connected'>[]
  telemetry(since?: number): readonly EventOf<'telemetry'>[]
  /** Waits for a message after `since`. */
  nextTelemetry(since: number, withinMs?: number): Promise<void>
  /** The configuration that names this device and its cloud; `more` is added at its end. */
  toml(more?: string): string
  /** Writes the configuration, and whom to trust. */
  configure(machine: Machine, more?: string): Promise<void>
  /** Has the request of the device signed, installs the chain, and waits for telemetry. */
  enrol(machine: Machine): Promise<void>
}

export async function startCloudBeside(id: string): Promise<Beside> {
  const cloud = await startFleetCloud()
  const atHub = (event: { readonly host: string }) => event.host !== cloud.dps.host
  const toml = (more = '') => `[device]
registrationId = "${id}"
[dps]
host = "${cloud.dpsAddress}"
idScope = "${cloud.idScope}"
[tls]
caFile = "${CA_FILE}"
[clock]
skewSource = "off"
[telemetry]
intervalSeconds = 1
${more}`
  const nextTelemetry = async (since: number, withinMs = 30_000) => {
    await cloud.record.waitFor((event) => event.kind === 'telemetry' && event.message.deviceId === id, {
      since,
      withinMs,
    })
  }
  return {
    ...{ cloud, toml, nextTelemetry },
    seq: () => cloud.record.seq(),
    connects: (since = 0) => eventsOf(cloud, 'connected', id, since).filter(atHub),
    telemetry: (since = 0) => eventsOf(cloud, 'telemetry', id, since),
    async configure(machine, more) {
      await machine.write(CA_FILE, await readFile(cloud.caFile, 'utf8'))
      await machine.write(CONFIG_FILE, toml(more))
    },
    async enrol(machine) {
      const since = cloud.record.seq()
      const request = `/var/lib/iot-device-agent/requests/${id}.csr`
      await machine.until(`test -s ${request}`)
      const chain = await cloud.authority.signDevice(`${await machine.shell('iot-device-agent csr')}\n`)
      await machine.write('/run/chain.pem', chain)
      await machine.shell('iot-device-agent install-certificate /run/chain.pem')
      await nextTelemetry(since)
    },
    [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
  }
}
