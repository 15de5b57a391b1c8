/** Renewal of certificates over the hub: who may ask, and what goes out when. azure-protocols.md 3.3 and 3.4. */
import type { Namespace } from '../adr/namespace.ts'
import type { Faults } from '../faults.ts'
import { ServiceError, type Incoming, type Recorder } from '../model.ts'
import {
  acceptedResult,
  conflict,
  issuedResult,
  lateFailure,
  nothingToReplace,
  refusalResult,
  sentences,
  type Refusal,
} from './credential-answers.ts'
import { createCredentialOperations, type CredentialOperation, type Result } from './credential-operations.ts'
import { isRequestTopic, isRid, parseCredentialBody, ridOf, type CredentialRequest } from './credential-request.ts'
import type { DeviceSession, TopicRow } from './topics.ts'
import { parseHubUser, renewsCertificates } from './username.ts'

export interface CredentialsOptions {
  readonly host: string
  readonly faults: Faults
  readonly recorder: Recorder
  /** Wall time in milliseconds. */
  readonly now: () => number
  readonly namespace: Namespace | undefined
  readonly sessionOf: (deviceId: string) => DeviceSession | undefined
}

export interface Credentials extends TopicRow {
  /** @throws ServiceError 404000 when the device has no pending operation */
  finish(deviceId: string): Promise<void>
  forget(deviceId: string): void
}

const PREFIX = '$iothub/credentials/'
const FILTER = `${PREFIX}res/#`

/** One request whose $rid has the right form. */
interface Asked {
  readonly session: DeviceSession
  readonly rid: string
}

export function createCredentials(options: CredentialsOptions): Credentials {
  const { host, faults, recorder, now, namespace, sessionOf } = options
  const operations = createCredentialOperations(now)

  const note = (clientId: string, reason: string) => recorder.add({ kind: 'refused', host, clientId, reason })

  /** Nobody hears the answer: the request counts for nothing, as far as the device can tell. */
  const unheard = ({ link, admission }: DeviceSession, reason: string) => {
    if (faults.get('credentialsUnheard') === 'close') return link.cut(reason)
    note(admission.deviceId, reason)
  }

  const send = ({ session, rid }: Asked, { status, errorCode, body }: Result, lost?: () => void): boolean => {
    const more = faults.get('credentialsTopic') === 'versioned' ? '&$version=1' : ''
    const { deviceId } = session.admission
    const isHeard = session.link.send(`${PREFIX}res/${status}/?$rid=${rid}${more}`, body, 1, undefined, lost)
    recorder.add({ kind: 'credentials', host, deviceId, rid, status, errorCode, isHeard })
    return isHeard
  }

  const refuse = (asked: Asked, refusal: Refusal) => {
    note(asked.session.admission.deviceId, `${refusal.errorCode}: ${refusal.message}`)
    if (!send(asked, refusalResult(refusal, now()))) unheard(asked.session, 'issueCertificate before the subscription')
  }

  const refuseAs = (asked: Asked, errorCode: keyof typeof sentences) => {
    const waits = errorCode === 429002 || errorCode === 429003
    const retryAfter = waits ? { retryAfterSeconds: faults.get('retryAfterSeconds') } : {}
    refuse(asked, { errorCode, message: sentences[errorCode], ...retryAfter })
  }

  /** Why this request gets no further than its arrival; true when that was dealt with. */
  const isTurnedAway = (asked: Asked): boolean => {
    const { admission, hello } = asked.session
    if (!renewsCertificates(parseHubUser(hello.username)?.apiVersion ?? '')) refuseAs(asked, 400001)
    else if (admission.type === 'sas' && admission.scope === 'device' && faults.get('credentialsOverSas') !== 'allowed')
      refuseSas(asked)
    else if (faults.get('credentialsRefusal') !== 'off') strike(asked)
    else if (faults.get('hubTier') !== 'GEN2') refuseAs(asked, 403010)
    else return false
    return true
  }

  /** Whether such a session may ask is not documented, and no code for it is: 403010 is the nearest one [U]. */
  const refuseSas = (asked: Asked) => {
    if (faults.get('credentialsOverSas') === 'refused') return refuseAs(asked, 403010)
    note(asked.session.admission.deviceId, 'issueCertificate on a session that the key of a device opened')
  }

  const strike = (asked: Asked) => {
    const fault = faults.get('credentialsRefusal')
    faults.set('credentialsRefusal', 'off')
    if (fault === 'silence') note(asked.session.admission.deviceId, 'the fault credentialsRefusal=silence')
    else if (fault !== 'off') refuseAs(asked, Number(fault) as keyof typeof sentences)
  }

  const begin = async (asked: Asked, { csr, replace }: CredentialRequest): Promise<void> => {
    const { deviceId } = asked.session.admission
    if (namespace?.policyOf(deviceId) === undefined) return refuseAs(asked, 412005)
    const expiresAtMs = now() + faults.get('operationExpiresSeconds') * 1000
    const begun = operations.begin({ deviceId, rid: asked.rid, csr, replace }, expiresAtMs)
    switch (begun.outcome) {
      case 'nothingToReplace':
        return refuse(asked, nothingToReplace(replace ?? ''))
      case 'conflict':
        return refuse(asked, conflict(409004, begun.operation))
      case 'again':
        return repeat(asked, begun.operation)
      case 'new':
        return await accept(asked, begun.operation)
    }
  }

  const repeat = (asked: Asked, operation: CredentialOperation) => {
    if (faults.get('credentialsDuplicate') === 'conflict') return refuse(asked, conflict(409005, operation))
    if (!send(asked, acceptedResult(operation))) return
    operation.isSent = false
    deliver(asked.session, operation)
  }

  const accept = async (asked: Asked, operation: CredentialOperation): Promise<void> => {
    if (!send(asked, acceptedResult(operation))) {
      operations.forget(operation.deviceId)
      return unheard(asked.session, 'issueCertificate before the subscription')
    }
    if (faults.get('issuance') === 'prompt') await complete(operation)
  }

  const complete = async (operation: CredentialOperation): Promise<void> => {
    const result = await resultOf(operation)
    if (!operations.isCurrent(operation) || operation.result !== undefined) return
    operation.result = result
    const session = sessionOf(operation.deviceId)
    if (session !== undefined) deliver(session, operation)
  }

  const resultOf = async (operation: CredentialOperation): Promise<Result> => {
    const { deviceId, csr } = operation
    const fault = faults.get('credentialsFailure')
    faults.set('credentialsFailure', 'off')
    try {
      if (fault !== 'off') throw new ServiceError(Number(fault), 'the fault credentialsFailure is set')
      const policy = namespace?.policyOf(deviceId) ?? ''
      const chain = (await namespace?.issue({ policy, deviceId, commonName: deviceId, csr, host })) ?? []
      return issuedResult(operation, chain, faults.get('certificatesForm'))
    } catch (cause) {
      if (!(cause instanceof ServiceError)) throw cause
      note(deviceId, `${cause.code}: ${cause.message}`)
      return refusalResult(lateFailure(cause.code, operation), now())
    }
  }

  /** The late answer: once, and once more when the session that held it ended before its PUBACK. */
  const deliver = (session: DeviceSession, operation: CredentialOperation) => {
    if (operation.result === undefined || operation.isSent) return
    const lost = () => {
      operation.isSent = false
    }
    operation.isSent = true
    if (!send({ session, rid: operation.rid }, operation.result, lost)) lost()
  }

  return {
    filter: ({ username }) => (renewsCertificates(parseHubUser(username)?.apiVersion ?? '') ? FILTER : undefined),
    takes: (topic) => topic.startsWith(PREFIX),
    rejects: (_session, { topic }) => (isRequestTopic(topic) ? undefined : `there is no topic ${topic}`),
    async receive(session, { topic, payload }: Incoming) {
      const rid = ridOf(topic)
      const { deviceId } = session.admission
      if (rid === '') return unheard(session, 'issueCertificate without $rid')
      const asked = { session, rid }
      // The code for a $rid of a wrong form is not in the log; `replace` of the same form has this one [U].
      if (!isRid(rid)) return refuse(asked, { errorCode: 400004, message: 'The request ID has an invalid format.' })
      if (isTurnedAway(asked)) return
      const body = parseCredentialBody(payload, deviceId)
      if (body.ok) await begin(asked, body.value)
      else refuse(asked, body)
    },
    ready(session) {
      const operation = operations.of(session.admission.deviceId)
      if (operation !== undefined) deliver(session, operation)
    },
    async finish(deviceId) {
      const operation = operations.of(deviceId)
      if (operation === undefined || operation.result !== undefined)
        throw new ServiceError(404000, `${deviceId} has no pending operation.`)
      await complete(operation)
    },
    forget: (deviceId) => operations.forget(deviceId),
  }
}
