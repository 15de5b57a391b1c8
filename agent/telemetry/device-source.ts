import { randomUUID } from 'node:crypto'
import type { Clock } from '../system/clock.ts'
import { makeSample } from './sample.ts'
import type { Metrics, Sample, SampleFacts } from './sample.ts'

export interface DeviceSourceOptions {
  readonly read: () => Promise<Metrics>
  readonly clock: Clock
  /** Who the device is and how it proves it, asked at every sample. */
  readonly identity: () => Pick<SampleFacts, 'deviceId' | 'authType'>
}

/** The built-in source of telemetry: one sample of the device itself a call. */
export function createDeviceSource({ read, clock, identity }: DeviceSourceOptions): () => Promise<Sample> {
  return async () => {
    const metrics = await read()
    return makeSample({ ...identity(), id: randomUUID(), takenAtMs: clock.now(), metrics })
  }
}
