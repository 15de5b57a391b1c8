/** The stand-in of the cloud for a machine that is not this process. */
import { startCloud } from '../../cloud/cloud.ts'
import type { Cloud, CloudOptions } from '../../cloud/cloud.ts'
import { calm, eventsOf } from '../../integration/agent-kit.ts'

/** Where a machine of a test has the authority of the stand-in. */
export const CA_FILE = '/etc/iot-device-agent/ca.pem'

export async function startFleet(options: CloudOptions = { hubHosts: ['hub-1.localhost'] }): Promise<Cloud> {
  const cloud = await startCloud(options)
  cloud.enrollFleet()
  calm(cloud)
  return cloud
}

/** config.toml of a device of the stand-in. */
export function configuration(cloud: Cloud, registrationId: string, more = ''): string {
  return `[device]
registrationId = "${registrationId}"
[dps]
host = "${cloud.dpsAddress}"
idScope = "${cloud.idScope}"
[tls]
caFile = "${CA_FILE}"
[telemetry]
intervalSeconds = 1
[clock]
skewSource = "off"
${more}`
}

/** Waits until the cloud has one more message from a device than `seen`. */
export async function telemetryAfter(cloud: Cloud, id: string, seen: number, withinMs = 60_000): Promise<void> {
  await cloud.record.waitFor(() => eventsOf(cloud, 'telemetry', id).length > seen, { withinMs })
}

export function messages(cloud: Cloud, id: string): number {
  return eventsOf(cloud, 'telemetry', id).length
}
