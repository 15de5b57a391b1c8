/** The device side of DPS: one `Endpoint` that judges, assigns and answers. Rules: azure-docs, iot-mqtt-connect-to-iot-dps. */
import type { Order } from '../adr/namespace.ts'
import type { Faults } from '../faults.ts'
import type { Endpoint, HubRegistry, Link, Recorder } from '../model.ts'
import { ServiceError } from '../model.ts'
import type { CustomAllocation } from './allocation.ts'
import { replaceAnswer, withoutAssignment } from './answers.ts'
import { assign, type Registrar } from './assignment.ts'
import type { EnrollmentStore } from './enrollments.ts'
import { createEnrollmentStore } from './enrollments.ts'
import type { Admitted, Refusal } from './judgement.ts'
import { createCourt } from './judgement.ts'
import type { Operation, Outcome, Records } from './records.ts'
import { createRecords } from './records.ts'
import {
  asksForCertificate,
  MAX_BODY_BYTES,
  parseRegisterBody,
  parseTopic,
  responseTopic,
  RESPONSE_FILTER,
  type RegisterWish,
} from './requests.ts'
import type { DpsUser } from './username.ts'
import { issuesCertificates, parseUsername } from './username.ts'
import { createWindow, createWindows } from './window.ts'
import { errorBody } from './wording.ts'

export interface DpsOptions {
  readonly host: string
  readonly idScope: string
  /** Linked in this order; the order counts for static allocation. */
  readonly hubs: readonly HubRegistry[]
  readonly faults: Faults
  readonly recorder: Recorder
  /** Wall time in milliseconds. */
  readonly now: () => number
  /** The name that a device reads for a hub, as `hub1.azure-devices.net:40123`; its host when left out. */
  readonly assignedHost?: (hub: string) => string
  readonly customAllocation?: CustomAllocation
  /** Issues certificates for enrollments that name a credential policy; without it the policy counts for nothing. */
  readonly issue?: (order: Order) => Promise<readonly string[]>
}

/** One DPS instance: the device side, and what its service side works on. */
export interface Dps extends Endpoint {
  readonly idScope: string
  readonly enrollments: EnrollmentStore
  readonly records: Pick<Records, 'get' | 'remove' | 'all'>
  /** The function in place of the webhook of enrollments with allocation policy `custom`. */
  setCustomAllocation(allocation: CustomAllocation | undefined): void
}

/** One question of a device. */
interface Question {
  readonly link: Link
  readonly user: DpsUser
  readonly rid: string
}

/** Room for topic and header beside the largest body, so that a body of a byte too much is refused by name. */
const MAX_PACKET_BYTES = MAX_BODY_BYTES + 4096

export function createDps(options: DpsOptions): Dps {
  const { host, idScope, hubs, faults, recorder, now } = options
  const hosts = hubs.map((hub) => hub.host)
  const enrollments = createEnrollmentStore(hosts, now)
  const records = createRecords()
  const court = createCourt({ idScope, faults, enrollments, records, now })
  const registrations = createWindow(60_000)
  const polls = createWindows(10_000)
  const underWay = new WeakMap<Operation, Promise<Outcome>>()
  let custom = options.customAllocation
  const assignedHost = options.assignedHost ?? ((hub: string) => hub)
  const losesWrite = () => faults.strikes('forgetAfterAssignment')
  const registrar: Registrar = {
    ...{ host, hubs, records, recorder, now, assignedHost, losesWrite, customAllocation: () => custom },
    ...{ issue: options.issue, withoutRequest: () => faults.get('policyWithoutCsr') },
  }

  const refuse = ({ link, rid }: Question, refusal: Refusal, retryAfterSeconds?: number) => {
    const { errorCode, message, reason } = refusal
    recorder.add({ kind: 'refused', host, clientId: link.hello.clientId, reason: `${errorCode}: ${reason}` })
    const topic = responseTopic(Math.floor(errorCode / 1000), rid, retryAfterSeconds)
    answer(link, topic, errorBody(errorCode, message, now()))
  }

  const sayAssigning = ({ link, rid }: Question, { operationId }: Operation) =>
    answer(link, responseTopic(202, rid, faults.get('retryAfterSeconds')), { operationId, status: 'assigning' })

  const register = async (question: Question, payload: Buffer): Promise<void> => {
    const { link, user } = question
    const waitSeconds = registrations.take(faults.get('registrationsPerMinute'), now())
    if (waitSeconds > 0) return refuse(question, throttled('registrations per minute'), waitSeconds)
    const judged = court.judge(link.hello, user)
    if ('errorCode' in judged) return refuse(question, judged)
    const body = parseRegisterBody(payload, user.registrationId, issuesCertificates(user.apiVersion))
    if (!body.ok) return refuse(question, { ...body, message: body.reason })
    const operation = records.begin(user.registrationId, faults.get('pollsBeforeAssigned'))
    sayAssigning(question, operation)
    const carriedOut = carryOut(user.registrationId, judged, body.value)
    if (body.value.csr !== undefined) underWay.set(operation, carriedOut)
    operation.outcome = await carriedOut
  }

  const carryOut = async (registrationId: string, judged: Admitted, wish: RegisterWish): Promise<Outcome> => {
    const ending = faults.get('dpsOutcome')
    if (judged.outcome === 'disabled')
      return { ended: 'state', state: withoutAssignment(registrationId, 'disabled', now()) }
    if (ending !== 'assigned' && ending !== 'mqttV5')
      return { ended: 'state', state: withoutAssignment(registrationId, ending, now()) }
    const { enrollment, proof } = judged
    try {
      const state = await assign(registrar, { registrationId, enrollment, proof, ...wish })
      return { ended: 'state', state: ending === 'mqttV5' ? { ...state, connectionProfile: ending } : state }
    } catch (cause) {
      if (!(cause instanceof ServiceError)) throw cause
      return { ended: 'refused', errorCode: cause.code, message: cause.message }
    }
  }

  const poll = async (question: Question, operationId: string, payload: Buffer): Promise<void> => {
    const { link, user, rid } = question
    if (issuesCertificates(user.apiVersion) && asksForCertificate(payload)) return refuse(question, misplacedRequest)
    const waitSeconds = polls.take(user.registrationId.toLowerCase(), faults.get('pollsPerTenSeconds'), now())
    if (waitSeconds > 0) return refuse(question, throttled('polls per 10 s'), waitSeconds)
    const operation = records.operation(operationId, user.registrationId)
    if (operation === undefined) return refuse(question, unknownOperation(operationId))
    if (operation.pollsLeft > 0) {
      operation.pollsLeft -= 1
      return sayAssigning(question, operation)
    }
    // The number of polls is the one that was set, however long the signing of a certificate takes.
    const outcome = operation.outcome ?? (await underWay.get(operation))
    if (outcome === undefined) return sayAssigning(question, operation)
    if (outcome.ended === 'refused') return refuse(question, { ...outcome, reason: outcome.message })
    if (outcome.state.status === 'assigned' && faults.strikes('answerLost'))
      return link.cut('the fault answerLost: assigned, and the answer is lost')
    const echo = faults.get('dpsAnswer') === 'nonAscii' ? { payload: { asset: 'Motor č. 5' } } : {}
    const registrationState = { ...outcome.state, ...echo }
    return answer(link, responseTopic(200, rid), { operationId, status: registrationState.status, registrationState })
  }

  return {
    ...{ kind: 'dps', host, idScope, keepsSessions: false, maxFilters: 5, maxPacketBytes: MAX_PACKET_BYTES },
    ...{ enrollments, records },
    authorize: (hello) => court.authorize(hello),
    opened: () => undefined,
    permits: (_link, filter) => filter === RESPONSE_FILTER,
    subscribed: () => undefined,
    rejects(_link, { topic, payload }) {
      if (payload.length > MAX_BODY_BYTES) return `a body of more than ${MAX_BODY_BYTES} bytes`
      return parseTopic(topic) === undefined ? `DPS knows no topic ${topic}` : undefined
    },
    async received(link, { topic, payload }) {
      const request = parseTopic(topic)
      const user = parseUsername(link.hello.username)
      if (request === undefined || user === undefined) return link.cut(`DPS knows no topic ${topic}`)
      if (replaceAnswer(link, request.rid, faults, now())) {
        const reason = `the fault dpsAnswer=${faults.get('dpsAnswer')}`
        return recorder.add({ kind: 'refused', host, clientId: link.hello.clientId, reason })
      }
      const question = { link, user, rid: request.rid }
      return request.ask === 'register' ? register(question, payload) : poll(question, request.operationId, payload)
    },
    acknowledgementDelayMs: () => 0,
    closed: () => undefined,
    setCustomAllocation(allocation) {
      custom = allocation
    },
  }
}

/** QoS 1 and a JSON body, always: some clients parse the body before they look at the status. */
function answer(link: Link, topic: string, body: unknown): void {
  link.send(topic, JSON.stringify(body), 1)
}

const misplacedRequest: Refusal = {
  errorCode: 400004,
  message: 'csr is not allowed in a status look-up.',
  reason: 'a status look-up with a csr',
}

function unknownOperation(operationId: string): Refusal {
  return { errorCode: 404203, message: 'Operation not found.', reason: `the device has no operation ${operationId}` }
}

function throttled(what: string): Refusal {
  return { errorCode: 429001, message: 'Operation is throttled.', reason: `too many ${what}` }
}
