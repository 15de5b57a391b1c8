/** One IoT Hub of the stand-in: who may connect, what each topic does, and what its service side can do. */
import type { X509Certificate } from 'node:crypto'
import type { Clock } from '../../../agent/system/clock.ts'
import type { Namespace } from '../adr/namespace.ts'
import type { Faults } from '../faults.ts'
import {
  ServiceError,
  type Hello,
  type Hub,
  type Identity,
  type Incoming,
  type Link,
  type Recorder,
  type TwinState,
} from '../model.ts'
import { judge, type Admission, type HubRules, type SharedAccessPolicy } from './authorize.ts'
import { createCredentials } from './credentials.ts'
import { createDeviceBound } from './device-bound.ts'
import { makeEtag, makeGenerationId, newIdentity, withCredential } from './identity.ts'
import { createMethods } from './methods.ts'
import { createTelemetry } from './telemetry.ts'
import type { DeviceSession, TopicRow } from './topics.ts'
import { createDesiredChannel, createTwinChannel } from './twin-channel.ts'
import { createTwin, mergePatch, patchBetween, sectionProblem, withSection, type Document } from './twin.ts'

export interface HubOptions {
  /** Lower case, without a port. */
  readonly host: string
  readonly policies: readonly SharedAccessPolicy[]
  readonly faults: Faults
  readonly recorder: Recorder
  readonly clock: Clock
  /** Certificate management; without it no device is managed. */
  readonly namespace?: Namespace
}

/** A hub, and what only the stand-in's own code reaches. */
export interface LocalHub extends Hub {
  readonly policies: readonly SharedAccessPolicy[]
  /** Authorities registered and verified on this hub; push to add one. */
  readonly authorities: X509Certificate[]
  /** C2D messages that the device has not completed. */
  queued(deviceId: string): number
  /** Judges a live session anew, as after a change of what it was admitted by; the fault `identityChange` says what follows. */
  reconsider(deviceId: string): void
  /**
   * Lets the operation that the fault `issuance=held` keeps run; resolves when its answer has gone out or waits.
   *
   * @throws ServiceError 404000 when the device has no pending operation
   */
  finishIssuance(deviceId: string): Promise<void>
}

/** C2D, methods, twin answers, desired pushes, and one more that the preview of certificate management uses. */
const MAX_FILTERS = 5

export function createHub(options: HubOptions): LocalHub {
  const { host, policies, faults, recorder, clock, namespace } = options
  const identities = new Map<string, Identity>()
  const twins = new Map<string, TwinState>()
  const admissions = new WeakMap<Hello, Admission>()
  const sessions = new Map<string, DeviceSession>()
  const byLink = new WeakMap<Link, DeviceSession>()
  const authorities: X509Certificate[] = []
  const now = () => clock.now()

  const generationId = (deviceId: string) => identities.get(deviceId)?.generationId ?? ''
  const deviceBound = createDeviceBound(now)
  const methods = createMethods(clock)
  const desired = createDesiredChannel(faults)
  const credentials = createCredentials({
    ...{ host, faults, recorder, now, namespace },
    sessionOf: (deviceId) => sessions.get(deviceId),
  })
  const rows: readonly TopicRow[] = [
    createTelemetry({ host, faults, recorder, clock, generationId }),
    deviceBound,
    methods,
    createTwinChannel({
      host,
      twins: { get: (id) => twins.get(id), set: (id, twin) => void twins.set(id, twin) },
      faults,
      recorder,
    }),
    desired.row,
    credentials,
  ]

  const rules = (): HubRules => ({
    ...{ host, policies, authorities, nowMs: now() },
    issuers: namespace?.issuers() ?? [],
    identifierOf: (deviceId) => namespace?.identifierOf(deviceId) ?? '',
    disableDeviceSAS: faults.get('disableDeviceSAS') === 'true',
    disableLocalAuth: faults.get('disableLocalAuth') === 'true',
    knowsRenewals: faults.get('renewalVersion') === 'known',
  })

  const rowFor = (topic: string, deviceId: string) => rows.find((row) => row.takes?.(topic, deviceId) === true)

  /** An identity changed under a live session: the session goes on only as far as the fault says. */
  const reconsider = (deviceId: string) => {
    const session = sessions.get(deviceId)
    const identity = identities.get(deviceId)
    if (session === undefined) return
    if (identity === undefined) return session.link.cut('404001: the device was deleted')
    if (identity.status === 'disabled') return session.link.cut('403012: the device was disabled')
    const verdict = judge(session.hello, (id) => identities.get(id), rules())
    if (verdict.ok) return
    const fault = faults.get('identityChange')
    if (fault === 'cut') session.link.cut(`the identity changed under the session: ${verdict.reason}`)
    else if (fault === 'expiry') session.outlived = true
  }

  const remove = (deviceId: string) => {
    identities.delete(deviceId)
    twins.delete(deviceId)
    deviceBound.forget(deviceId)
    credentials.forget(deviceId)
    reconsider(deviceId)
  }

  const known = (deviceId: string): TwinState => {
    const twin = twins.get(deviceId)
    if (twin === undefined) throw new ServiceError(404001, `DeviceNotFound: ${deviceId} is not registered.`)
    return twin
  }

  const tickSession = ({ link, admission, outlived }: DeviceSession, nowMs: number) => {
    const late = nowMs - admission.endsAtMs
    if (late < 0) return
    if (outlived) return link.cut('the identity changed, and the credential of the session ended')
    if (admission.type === 'sas' && late >= faults.get('sasGraceSeconds') * 1000)
      return link.cut('401003: the token of the session expired')
    if (admission.type === 'x509' && faults.get('certificateExpiry') === 'cut')
      return link.cut('401003: the certificate of the session expired')
  }

  return {
    ...{ kind: 'hub', host, keepsSessions: true, maxFilters: MAX_FILTERS, policies, authorities },

    authorize(hello) {
      const verdict = judge(hello, (deviceId) => identities.get(deviceId), rules())
      if (!verdict.ok) return { accepted: false, returnCode: 5, reason: verdict.reason }
      admissions.set(hello, verdict.value)
      return { accepted: true }
    },
    opened(link) {
      const admission = admissions.get(link.hello)
      if (admission === undefined) return link.cut('the connection was never admitted')
      const session: DeviceSession = { link, hello: link.hello, admission, outlived: false, messages: 0 }
      sessions.set(admission.deviceId, session)
      byLink.set(link, session)
      for (const row of rows) row.ready?.(session)
    },
    permits: (link, filter) => rows.some((row) => row.filter?.(link.hello) === filter),
    subscribed(link) {
      const session = byLink.get(link)
      if (session !== undefined) for (const row of rows) row.ready?.(session)
    },
    rejects(link, message) {
      const session = byLink.get(link)
      const row = rowFor(message.topic, link.hello.clientId)
      if (session === undefined || row === undefined) return `there is no topic ${message.topic}`
      return row.rejects?.(session, message)
    },
    received(link, message: Incoming) {
      const session = byLink.get(link)
      return session && rowFor(message.topic, link.hello.clientId)?.receive?.(session, message)
    },
    acknowledgementDelayMs(link, message) {
      const shapedMs = rowFor(message.topic, link.hello.clientId)?.delayMs?.(message) ?? 0
      return Math.max(shapedMs, faults.get('pubackDelayMs'))
    },
    closed(link, willDue) {
      const session = byLink.get(link)
      if (session === undefined) return
      if (sessions.get(session.admission.deviceId) === session) sessions.delete(session.admission.deviceId)
      for (const row of rows) row.closed?.(session, willDue)
    },
    tick(nowMs) {
      for (const session of [...sessions.values()]) tickSession(session, nowMs)
    },

    has: (deviceId) => identities.has(deviceId),
    assign(deviceId, credential, initialTwin) {
      const before = identities.get(deviceId) ?? newIdentity(deviceId)
      identities.set(deviceId, withCredential(before, credential))
      if (initialTwin !== undefined || !twins.has(deviceId)) twins.set(deviceId, createTwin(initialTwin))
      reconsider(deviceId)
    },
    release(deviceId) {
      const twin = twins.get(deviceId)
      remove(deviceId)
      return twin === undefined ? undefined : { tags: twin.tags, desired: twin.desired }
    },

    identities: () => [...identities.values()],
    identity: (deviceId) => identities.get(deviceId),
    putIdentity(identity) {
      const generation = identity.generationId === '' ? makeGenerationId() : identity.generationId
      identities.set(identity.deviceId, { ...identity, generationId: generation, etag: makeEtag() })
      if (!twins.has(identity.deviceId)) twins.set(identity.deviceId, createTwin(undefined))
      reconsider(identity.deviceId)
    },
    removeIdentity: remove,
    isConnected: (deviceId) => sessions.has(deviceId),
    twin: (deviceId) => twins.get(deviceId),
    patchTwin(deviceId, patch, replace = false) {
      const before = known(deviceId)
      let after = before
      for (const section of ['tags', 'desired'] as const) {
        const part: unknown = patch[section]
        if (part === undefined) continue
        const merged = (wanted: Document) => mergePatch(replace ? {} : before[section], wanted)
        const problem = sectionProblem(section, part, merged)
        if (problem !== undefined) throw new ServiceError(400004, problem)
        after = withSection(after, section, merged(part as Document))
      }
      twins.set(deviceId, after)
      const session = sessions.get(deviceId)
      if (session !== undefined && patch.desired !== undefined)
        desired.push(
          session,
          replace ? patchBetween(before.desired, after.desired) : patch.desired,
          after.desiredVersion,
        )
      return after
    },
    async invokeMethod(deviceId, call) {
      known(deviceId)
      return methods.invoke(sessions.get(deviceId), call)
    },
    sendToDevice(deviceId, body, properties = {}) {
      known(deviceId)
      deviceBound.enqueue(deviceId, body, properties)
      const session = sessions.get(deviceId)
      if (session !== undefined) deviceBound.ready?.(session)
    },
    queued: (deviceId) => deviceBound.depth(deviceId),
    reconsider,
    finishIssuance: (deviceId) => credentials.finish(deviceId),
  }
}
