/** The device's side of its twin: GET, reported PATCH, desired pushes. azure-protocols.md 4.3 and 4.4. */
import type { Faults } from '../faults.ts'
import type { Incoming, Recorder, TwinState } from '../model.ts'
import { parseJson } from './json.ts'
import { queryOf, type DeviceSession, type TopicRow } from './topics.ts'
import { mergePatch, sectionProblem, withSection, type Document } from './twin.ts'

export interface TwinStore {
  get(deviceId: string): TwinState | undefined
  set(deviceId: string, twin: TwinState): void
}

export interface TwinChannelOptions {
  readonly host: string
  readonly twins: TwinStore
  readonly faults: Faults
  readonly recorder: Recorder
}

const GET = '$iothub/twin/GET/?'
const PATCH = '$iothub/twin/PATCH/properties/reported/?'
const DESIRED_FILTER = '$iothub/twin/PATCH/properties/desired/#'

/** Answers of the fault `twinAnswer` that stand for a refused request: status and code. */
const refusals = { '400': 400004, '429': 429001, '500': 500001 } as const

/** Answers: GET with the twin, PATCH with its new version; refusals with a code in the body. */
export function createTwinChannel({ host, twins, faults, recorder }: TwinChannelOptions): TopicRow {
  const refuse = (session: DeviceSession, rid: string, errorCode: number, message: string) => {
    recorder.add({ kind: 'refused', host, clientId: session.admission.deviceId, reason: `${errorCode}: ${message}` })
    answer(session, Math.floor(errorCode / 1000), rid, JSON.stringify({ errorCode, message }))
  }

  const patchReported = (session: DeviceSession, rid: string, payload: Buffer, twin: TwinState) => {
    const { deviceId } = session.admission
    const parsed = parseJson(payload)
    if (parsed === undefined) return refuse(session, rid, 400006, 'The body is not JSON.')
    const merged = (patch: Document) => mergePatch(twin.reported, patch)
    const problem = sectionProblem('reported', parsed.value, merged)
    if (problem !== undefined) return refuse(session, rid, 400004, problem)
    const patch = parsed.value as Document
    const next = withSection(twin, 'reported', merged(patch))
    twins.set(deviceId, next)
    recorder.add({ kind: 'reported', host, deviceId, version: next.reportedVersion, patch })
    return lastly(session, rid, () => answer(session, 204, rid, '', `&$version=${next.reportedVersion}`))
  }

  /** The request took effect; only its answer may be lost or broken. */
  const lastly = (session: DeviceSession, rid: string, say: () => void) => {
    const fault = faults.get('twinAnswer')
    if (fault === 'silence') return
    if (fault === 'malformed') return answer(session, 200, rid, '{"desired":')
    return say()
  }

  return {
    filter: () => '$iothub/twin/res/#',
    takes: (topic) => topic.startsWith(GET) || topic.startsWith(PATCH),
    rejects: (_session, { topic }) => ((queryOf(topic)?.get('$rid') ?? '') === '' ? `no $rid in ${topic}` : undefined),
    receive(session, { topic, payload }: Incoming) {
      const rid = queryOf(topic)?.get('$rid') ?? ''
      const twin = twins.get(session.admission.deviceId)
      const fault = faults.get('twinAnswer')
      if (fault === '404empty') return answer(session, 404, rid, '')
      if (fault === '400' || fault === '429' || fault === '500')
        return refuse(session, rid, refusals[fault], 'The fault twinAnswer is set.')
      if (twin === undefined) return refuse(session, rid, 404001, 'The device is not registered.')
      if (topic.startsWith(PATCH)) return patchReported(session, rid, payload, twin)
      return lastly(session, rid, () => answer(session, 200, rid, JSON.stringify(asDeviceSees(twin))))
    },
  }
}

/** The row of desired pushes, and the push itself: sent when subscribed, never kept for later. */
export function createDesiredChannel(faults: Faults) {
  const row: TopicRow = { filter: () => DESIRED_FILTER }
  const push = (session: DeviceSession, patch: Document, version: number) => {
    const fault = faults.get('desiredPush')
    if (fault === 'lost') return
    const body = fault === 'malformed' ? '{"$version":' : JSON.stringify({ ...patch, $version: version })
    session.link.send(`$iothub/twin/PATCH/properties/desired/?$version=${version}`, body, 0)
  }
  return { row, push }
}

/** Properties with their versions; tags and metadata are for the service side. */
function asDeviceSees(twin: TwinState) {
  return {
    desired: { ...twin.desired, $version: twin.desiredVersion },
    reported: { ...twin.reported, $version: twin.reportedVersion },
  }
}

function answer({ link }: DeviceSession, status: number, rid: string, body: string, more = ''): void {
  link.send(`$iothub/twin/res/${status}/?$rid=${rid}${more}`, body, 0)
}
