/** A device without the agent around it: a credential, and the two adapters that are under test. */
import { readFile } from 'node:fs/promises'
import type { Failure } from '../../agent/failure.ts'
import { openSession } from '../../agent/hub/session.ts'
import type { Session, SessionOptions } from '../../agent/hub/session.ts'
import { register } from '../../agent/provision/dps.ts'
import type { Assignment, RegistrationRequest } from '../../agent/provision/dps.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { WireCredential } from '../../agent/wire/credential.ts'
import type { DeviceCredential } from '../cloud/authority.ts'
import { startCloud } from '../cloud/cloud.ts'
import type { Cloud, CloudOptions } from '../cloud/cloud.ts'

/** A device with either credential. */
export interface BareDevice {
  readonly registrationId: string
  register(more?: Partial<RegistrationRequest>, signal?: AbortSignal): Promise<Assignment>
  open(more?: Partial<SessionOptions>, signal?: AbortSignal): Promise<Session>
}

/** A device with a certificate. */
export interface Device extends BareDevice {
  readonly credential: DeviceCredential
}

export interface Bench extends AsyncDisposable {
  readonly cloud: Cloud
  readonly ca: string
  device(registrationId: string, credential?: DeviceCredential): Promise<Device>
  deviceWith(registrationId: string, credential: WireCredential): BareDevice
  /** Resolves when the stand-in holds no connection. */
  deserted(): Promise<void>
  /** Resolves when the stand-in has received these characters from a client. */
  received(text: string): Promise<void>
  /** No faults, and DPS as fast as it can be. */
  calm(): void
}

/** The stand-in with one hub and an enrollment group, and DPS as fast as it can be. */
export async function startBench(options: CloudOptions = {}): Promise<Bench> {
  const cloud = await startCloud({ hubHosts: ['hub-1.localhost'], ...options })
  cloud.enrollFleet()
  const calm = () => {
    cloud.faults.reset()
    cloud.faults.set('retryAfterSeconds', 0)
    cloud.faults.set('pollsPerTenSeconds', 0)
  }
  calm()
  const ca = await readFile(cloud.caFile, 'utf8')
  const deviceWith = (registrationId: string, credential: WireCredential): BareDevice => {
    const common = { credential, ca, clock: systemClock }
    const { dpsAddress: host, idScope } = cloud
    return {
      registrationId,
      register: (more = {}, signal) =>
        register({ ...common, host, idScope, registrationId, deadlineMs: 5_000, ...more }, signal),
      open: (more = {}, signal) =>
        openSession(
          {
            ...common,
            host: cloud.hubAddress(),
            deviceId: registrationId,
            keepAliveSeconds: 30,
            productInfo: 'iot-device-agent/test',
            connectTimeoutMs: 5_000,
            ...more,
          },
          signal,
        ),
    }
  }
  return {
    cloud,
    ca,
    calm,
    deserted: () => until(() => cloud.connections() === 0),
    received: (text) => until(() => cloud.received().includes(text)),
    deviceWith,
    async device(registrationId, known) {
      const credential = known ?? (await cloud.authority.makeDevice(registrationId))
      const { chainPem, keyPem } = credential
      return { ...deviceWith(registrationId, { lane: 'x509', chainPem, keyPem }), credential }
    },
    [Symbol.asyncDispose]: () => cloud.close(),
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** The failure of a promise that must not be kept. */
export async function failureOf(work: Promise<unknown>): Promise<Failure> {
  return work.then(
    (value) => {
      throw new Error(`it succeeded: ${JSON.stringify(value)}`)
    },
    (error: Failure) => error,
  )
}
