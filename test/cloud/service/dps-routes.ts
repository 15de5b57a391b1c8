/** REST of DPS, api-version 2021-10-01, as the package azure-iot-provisioning-service calls it. */
import type { Dps } from '../dps/dps.ts'
import { showAttestation, showEnrollment } from '../dps/enrollment-form.ts'
import type { Enrollment, EnrollmentKind } from '../dps/enrollments.ts'
import { ServiceError } from '../model.ts'
import type { Call, Reply } from './exchange.ts'
import { isObject, objectOf } from './exchange.ts'
import { answerQuery } from './paging.ts'
import type { RouteRow } from './route.ts'

const config = ['serviceConfig']
const readStatus = ['registrationStatusRead']
const writeStatus = ['registrationStatusWrite']

export const dpsRoutes: readonly RouteRow<Dps>[] = [
  { method: 'POST', path: 'enrollments', rights: config, run: bulkEnrollments },
  ...enrollmentRoutes('individual', 'enrollments'),
  ...enrollmentRoutes('group', 'enrollmentGroups'),
  { method: 'GET', path: 'registrations/*', rights: readStatus, run: getState },
  { method: 'DELETE', path: 'registrations/*', rights: writeStatus, run: removeState },
  { method: 'POST', path: 'registrations/*/query', rights: readStatus, run: queryStates },
]

function enrollmentRoutes(kind: EnrollmentKind, path: string): RouteRow<Dps>[] {
  const rights = config
  return [
    { method: 'POST', path: `${path}/query`, rights, run: (dps, call) => queryEnrollments(dps, kind, call) },
    { method: 'GET', path: `${path}/*`, rights, run: (dps, _call, id) => shown(dps, known(dps, kind, id)) },
    { method: 'PUT', path: `${path}/*`, rights, run: (dps, call, id) => putEnrollment(dps, kind, id, call) },
    {
      ...{ method: 'DELETE', path: `${path}/*`, rights },
      run(dps, call, id) {
        dps.enrollments.remove(kind, id, call.header('if-match'))
        return { status: 204 }
      },
    },
    {
      ...{ method: 'POST', path: `${path}/*/attestationmechanism`, rights },
      run: (dps, _call, id) => ({ status: 200, body: showAttestation(kind, known(dps, kind, id).attestation, true) }),
    },
  ]
}

function known(dps: Dps, kind: EnrollmentKind, id: string): Enrollment {
  const enrollment = dps.enrollments.get(kind, id)
  if (enrollment === undefined) throw new ServiceError(404201, 'Enrollment not found.')
  return enrollment
}

function putEnrollment(dps: Dps, kind: EnrollmentKind, id: string, call: Call): Reply {
  const body = objectOf(call.json(), 'The enrollment')
  const named = body[kind === 'group' ? 'enrollmentGroupId' : 'registrationId']
  if (typeof named === 'string' && named.toLowerCase() !== id.toLowerCase())
    throw new ServiceError(400004, `${named} is not the ID of the path.`)
  return shown(dps, dps.enrollments.put(kind, id, body, call.header('if-match')))
}

function shown(dps: Dps, enrollment: Enrollment): Reply {
  return { status: 200, headers: { etag: enrollment.etag }, body: withState(dps, enrollment) }
}

/** An individual enrollment shows the registration that came through it. */
function withState(dps: Dps, enrollment: Enrollment): Record<string, unknown> {
  const record = enrollment.kind === 'individual' ? dps.records.get(enrollment.id) : undefined
  const isOurs = record?.enrollment.kind === 'individual'
  return { ...showEnrollment(enrollment), ...(isOurs ? { registrationState: record.state } : {}) }
}

function queryEnrollments(dps: Dps, kind: EnrollmentKind, call: Call): Reply {
  const documents = () => dps.enrollments.all(kind).map((enrollment) => withState(dps, enrollment))
  const wholeRow = kind === 'group' ? 'EnrollmentGroup' : 'Enrollment'
  return answerQuery(call, { documents, wholeRow, star: 'SELECT * FROM enrollments' })
}

/** Each enrollment by itself: what fails is in `errors`. */
function bulkEnrollments(dps: Dps, call: Call): Reply {
  const { mode, enrollments } = objectOf(call.json(), 'The operation')
  if (!Array.isArray(enrollments)) throw new ServiceError(400004, 'enrollments must be an array.')
  const errors = enrollments.flatMap((item: unknown) => {
    const body = isObject(item) ? item : {}
    const registrationId = typeof body['registrationId'] === 'string' ? body['registrationId'] : ''
    try {
      runBulkItem(dps, String(mode).toLowerCase(), registrationId, body)
      return []
    } catch (cause) {
      if (!(cause instanceof ServiceError)) throw cause
      return [{ registrationId, errorCode: cause.code, errorStatus: cause.message }]
    }
  })
  return { status: 200, body: { isSuccessful: errors.length === 0, errors } }
}

function runBulkItem(dps: Dps, mode: string, id: string, body: Record<string, unknown>): void {
  const etag = typeof body['etag'] === 'string' ? body['etag'] : '*'
  switch (mode) {
    case 'create':
      return void dps.enrollments.put('individual', id, body)
    case 'update':
      return void dps.enrollments.put('individual', id, body, '*')
    case 'updateifmatchetag':
      return void dps.enrollments.put('individual', id, body, etag)
    case 'delete':
      return dps.enrollments.remove('individual', id)
    default:
      throw new ServiceError(400004, `mode ${mode} is not known.`)
  }
}

function getState(dps: Dps, _call: Call, id: string): Reply {
  const record = dps.records.get(id)
  if (record === undefined) throw new ServiceError(404202, 'Device registration not found.')
  return { status: 200, headers: { etag: record.state.etag }, body: record.state }
}

function removeState(dps: Dps, call: Call, id: string): Reply {
  dps.records.remove(id, call.header('if-match'))
  return { status: 204 }
}

/** The registrations of one enrollment group, whose ID stands where a registration's would; the body may be empty. */
function queryStates(dps: Dps, call: Call, groupId: string): Reply {
  const { id } = known(dps, 'group', groupId)
  const ours = () => dps.records.all().filter(({ enrollment }) => enrollment.kind === 'group' && enrollment.id === id)
  const documents = () => ours().map(({ state }) => ({ ...state }))
  const everything = 'SELECT * FROM registrations'
  return answerQuery(call, { documents, wholeRow: 'DeviceRegistration', byDefault: everything, star: everything })
}
