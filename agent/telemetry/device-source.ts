import { randomUUID } from 'node:crypto'
import { makeDeviceBody } from './device-message.ts'
import type { DeviceFacts, Metrics } from './device-message.ts'
import { PLAIN_LABEL } from './sample.ts'
import type { Sample } from './sample.ts'

/** Stream of the built-in measurements. */
export const DEVICE_STREAM = 'device'

export interface DeviceSourceOptions {
  readonly read: () => Promise<Metrics>
  /** What time it is, and whether that can be believed. */
  readonly stamp: () => Pick<Sample, 'createdAtMs' | 'unsure'>
  /** Who the device is and how it proves it, asked at every sample. */
  readonly identity: () => Pick<DeviceFacts, 'deviceId' | 'authType'>
}

/** The built-in source of telemetry: one sample of the device itself a call, stamped when it has been measured. */
export function createDeviceSource({ read, stamp, identity }: DeviceSourceOptions): () => Promise<Sample> {
  return async () => {
    const metrics = await read()
    const when = stamp()
    return {
      id: randomUUID(),
      stream: DEVICE_STREAM,
      priority: 'telemetry',
      ...when,
      label: PLAIN_LABEL,
      body: makeDeviceBody({ ...identity(), createdAtMs: when.createdAtMs, metrics }),
    }
  }
}
