import type { AuthOrder, OrderAnswer } from '../credential/rotation-ports.ts'
import { asFailure, entryOf, Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { LogLevel } from '../system/log.ts'
import { createFloodGate } from './audit.ts'
import type { MethodAudit } from './audit.ts'
import { admit } from './limit.ts'
import type { Past } from './limit.ts'
import { readPayload } from './payload.ts'
import { changeLimits, isMethodName, methodNames, methodTable, otherLimits } from './table.ts'
import type { MethodName, MethodStatus, PayloadOf } from './table.ts'

/** One call of a direct method. */
export interface Call {
  readonly name: string
  /** Undefined when the call came without one. */
  readonly payload: unknown
}

/** What the caller is answered. */
export interface Reply {
  readonly status: MethodStatus
  /** Something that JSON can say. */
  readonly body: object
}

/** What direct methods need of the agent. */
export interface MethodPorts {
  readonly clock: Clock
  readonly version: string
  /** Names of the methods that the owner of the device lets the cloud call, asked at each call. */
  readonly allowed: Pick<ReadonlySet<string>, 'has'>
  /** As `iot-device-agent status --json` shows it, without secrets. */
  status(): object
  order(order: AuthOrder): Promise<OrderAnswer>
  setLogLevel(level: LogLevel): void
  /** The request that waits. @throws Failure NO_PENDING_REQUEST */
  csr(): object
  /** Checks a chain in PEM and lays it where it is waited for. @throws Failure NO_PENDING_REQUEST, CHAIN_… */
  installCertificate(chain: string): Promise<object>
  audit(entry: MethodAudit): void
  /** Told of what is our own fault; the caller learns only that there was something. */
  onFailure(failure: Failure): void
}

type Run<Name extends MethodName> = (payload: PayloadOf<Name>, ports: MethodPorts) => Reply | Promise<Reply>

const runs: { readonly [Name in MethodName]: Run<Name> } = {
  ping: (_, { version, clock }) => done({ version, at: new Date(clock.now()).toISOString() }),
  getStatus: (_, ports) => done(ports.status()),
  setAuthMode: ({ mode, rehearse }, ports) => order(mode, rehearse, ports),
  renewCertificate: ({ rehearse }, ports) => order('renew', rehearse, ports),
  reprovision: ({ rehearse }, ports) => order('reprovision', rehearse, ports),
  setLogLevel({ level }, ports) {
    ports.setLogLevel(level)
    return done({ level })
  },
  getCsr: (_, ports) => done(ports.csr()),
  installCertificate: async ({ chain }, ports) => done(await ports.installCertificate(chain)),
}

/**
 * Answers direct methods; never rejects. It counts calls over all sessions, so there is one of it in an agent. Whoever
 * may call at all is the cloud's own affair (service connect permission of the hub); what may be called is ours.
 */
export function createMethods(ports: MethodPorts): (call: Call) => Promise<Reply> {
  const { clock, allowed } = ports
  let changes: Past = []
  let others: Past = []
  const audit = createFloodGate(clock, (entry) => ports.audit(entry))

  /** @throws Failure METHOD_TOO_OFTEN */
  const count = (changing: boolean) => {
    const admission = admit(changing ? changes : others, changing ? changeLimits : otherLimits, clock.monotonicMs())
    if (!admission.ok) throw tooOften(admission.waitMs)
    if (changing) changes = admission.past
    else others = admission.past
  }

  /** @throws Failure METHOD_UNKNOWN, METHOD_NOT_ALLOWED, METHOD_TOO_OFTEN */
  const admitted = ({ name }: Call): MethodName => {
    const known = isMethodName(name) && allowed.has(name)
    count(known && methodTable[name].changes)
    if (!isMethodName(name)) {
      throw new Failure('METHOD_UNKNOWN', `there is no such method; there are ${methodNames.join(', ')}`)
    }
    if (!known) throw new Failure('METHOD_NOT_ALLOWED', `methods.allowed of this device does not name ${name}`)
    return name
  }

  return async (call) => {
    let payload: MethodAudit['payload']
    const reply = await (async () => {
      const name = admitted(call)
      const given = readPayload(name, call.payload)
      if (!given.ok) throw new Failure('METHOD_INVALID', given.problems.join('; '))
      payload = given.value
      return runs[name](given.value as never, ports)
    })().catch((error: unknown) => refusalOf(asFailure(error), ports))
    if (isMethodName(call.name) && methodTable[call.name].changes) audit(auditOf(call.name, payload, reply))
    return reply
  }
}

function done(body: object): Reply {
  return { status: 200, body }
}

async function order(order: AuthOrder['order'], rehearse: boolean | undefined, ports: MethodPorts): Promise<Reply> {
  const answer = await ports.order({ order, cause: 'method', rehearse: rehearse === true })
  if (answer.accepted) return done(answer)
  const { code = 'UNEXPECTED', steps } = answer
  const entry = entryOf(code)
  const message = steps.length === 0 ? (entry?.meaning ?? '') : steps.join('; ')
  return { status: statusOf(code), body: { code, message, advice: entry?.advice ?? '' } }
}

/** Characters of a value that the audit trail keeps. */
const LONGEST_KEPT = 64

const statuses: Readonly<Partial<Record<FailureCode, MethodStatus>>> = {
  METHOD_INVALID: 400,
  METHOD_NOT_ALLOWED: 403,
  METHOD_UNKNOWN: 404,
  METHOD_TOO_OFTEN: 429,
}

function statusOf(code: string): MethodStatus {
  return statuses[code as FailureCode] ?? (entryOf(code)?.kind === 'broken' ? 500 : 409)
}

function refusalOf(failure: Failure, ports: MethodPorts): Reply {
  const { code, message, advice } = failure
  const status = statusOf(code)
  if (status !== 500) return { status, body: { code, message, advice } }
  ports.onFailure(failure)
  return { status, body: { code, message: 'the method failed; the log of the device says how', advice } }
}

function auditOf(method: MethodName, payload: MethodAudit['payload'], { status, body }: Reply): MethodAudit {
  const accepted = payload?.['rehearse'] === true ? 'rehearsed' : 'accepted'
  const outcome = status === 200 ? accepted : status === 500 ? 'failed' : 'refused'
  const code = 'code' in body ? String(body.code) : undefined
  const kept = payload && withoutTexts(payload)
  return { method, outcome, status, ...(code !== undefined && { code }), ...(kept !== undefined && { payload: kept }) }
}

/** What is as long as a certificate has no place in a trail that is bounded. */
function withoutTexts(payload: NonNullable<MethodAudit['payload']>): NonNullable<MethodAudit['payload']> {
  return Object.fromEntries(Object.entries(payload).filter(([, value]) => String(value).length <= LONGEST_KEPT))
}

function tooOften(waitMs: number): Failure {
  const seconds = Math.ceil(waitMs / 1000)
  return new Failure('METHOD_TOO_OFTEN', `too many calls; the next one may come in ${seconds} s`, {
    retryAfterMs: waitMs,
  })
}
