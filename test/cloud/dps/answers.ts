/** Answers that a fault put in place of the true one. */
import type { Faults } from '../faults.ts'
import type { Link } from '../model.ts'
import type { RegistrationState } from './records.ts'
import { responseTopic } from './requests.ts'
import { dateTimeUtc, errorBody, makeEtag } from './wording.ts'

/** Error codes by the status that the fault `dpsAnswer` names. Source of the first three: public traces. */
const codes = {
  '400': 400012,
  '401': 401002,
  '404': 404201,
  '409': 409000,
  '429': 429001,
  '500': 500000,
  '503': 503000,
} as const

/** True when the fault `dpsAnswer` has answered (or kept silent) in place of DPS. */
export function replaceAnswer(link: Link, rid: string, faults: Faults, nowMs: number): boolean {
  const fault = faults.get('dpsAnswer')
  if (fault === 'off' || fault === 'nonAscii') return false
  if (fault === 'close') link.cut('the fault dpsAnswer=close')
  else if (fault === 'malformed') link.send(responseTopic(200, rid), '{"operationId":"5.', 1)
  else if (fault === 'empty') link.send(responseTopic(200, rid), '', 1)
  else if (fault !== 'silence') {
    const code = codes[fault]
    const wait = code >= 429000 ? faults.get('retryAfterSeconds') : undefined
    const body = errorBody(code, `the fault dpsAnswer=${fault}`, nowMs)
    link.send(responseTopic(Number(fault), rid, wait), JSON.stringify(body), 1)
  }
  return true
}

/** A registration that ended without a hub. */
export function withoutAssignment(
  registrationId: string,
  status: 'failed' | 'disabled' | 'unassigned',
  nowMs: number,
): RegistrationState {
  const stamp = dateTimeUtc(nowMs)
  const failure = status === 'failed' ? { errorCode: 401002, errorMessage: 'IotHubUnauthorizedAccess' } : {}
  return {
    registrationId,
    status,
    createdDateTimeUtc: stamp,
    lastUpdatedDateTimeUtc: stamp,
    etag: makeEtag(),
    ...failure,
  }
}
