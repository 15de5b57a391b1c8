import { isPending, isSameRef, nameOf } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { RotationPorts } from '../../../agent/credential/rotation-ports.ts'
import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import { Failure } from '../../../agent/failure.ts'
import { supervise } from '../../../agent/hub/supervise.ts'
import type { Assigned } from '../../../agent/hub/supervise.ts'
import { createBell } from '../../../agent/telemetry/bell.ts'
import { connect, register, settleLate, tolerates } from './cloud.ts'
import type { Answered, Cloud, Presented, Reply } from './cloud.ts'
import { holds, nextGeneration, withCertificate } from './disk.ts'
import { createSession } from './hub-session.ts'
import type { AttendedSession, HubSession } from './hub-session.ts'
import type { Machine } from './machine.ts'
import { CERTIFICATE_MS } from './storage.ts'

/** What the device and its watchers see of the network. */
export interface Network {
  readonly link: RotationPorts['link']
  readonly sendSomething: RotationPorts['sendSomething']
  /** The session that lives at this moment. */
  session(): HubSession | undefined
  /** Changes the cloud as its operator does; a session that it does not tolerate any more ends. */
  changeCloud(change: (cloud: Cloud) => Cloud): void
}

export interface Watch {
  /** A credential is about to be presented to DPS or a hub. */
  onUse(ref: CredentialRef, where: string): void
  /** The desired part of the twin is known. */
  onTwin(): void
  onWrong(what: string): void
}

const REQUEST_MS = 50
const HOUR_MS = 3_600_000
/** A token lives an hour; the hub has been seen to take it some minutes longer, which nobody may count on. */
const TOKEN_MS = HOUR_MS
/** Beyond this, the certificate of a server is not valid by the clock of the device. */
const SERVER_DATES_MS = 180 * 24 * HOUR_MS

/** Everything between the device and the cloud: links under the real supervision, each request in three steps. */
export function createNetwork(
  machine: Machine,
  policy: Pick<AuthPolicy, 'x509Enabled' | 'onboarding'>,
  watch: Watch,
): Network {
  const outgoing = createBell()
  let live: AttendedSession | undefined
  /** The links that register or connect at this moment. */
  const busy = new Set<string>()
  const scheduled = new Set<number>()

  const changeCloud = (change: (cloud: Cloud) => Cloud) => {
    const cloud = change(machine.world().cloud)
    machine.change({ cloud })
    if (live !== undefined && !tolerates(cloud, nameOf(live.ref), live.hub, machine.trueMs()))
      live.end('HUB_CLOSED', 'the hub tolerates it no longer')
    for (const { dueMs } of cloud.late) void settleAt(dueMs)
  }
  const settleAt = async (dueMs: number) => {
    if (scheduled.has(dueMs)) return
    scheduled.add(dueMs)
    await machine.clock.wait(dueMs - machine.trueMs())
    machine.note('DPS: a registration is carried out late')
    changeCloud((cloud) => settleLate(cloud, machine.trueMs()))
  }
  for (const { dueMs } of machine.world().cloud.late) void settleAt(dueMs)

  /** A request in its three steps: sent, carried out, answered. */
  const exchange = async (
    what: string,
    judge: (cloud: Cloud) => Answered,
    signal: AbortSignal,
  ): Promise<Exclude<Reply, { reply: 'failure' }>> => {
    const local = wallFailure(machine.world().wallAheadMs)
    if (busy.size > 0) watch.onWrong(`${what} while ${[...busy].join()}`)
    busy.add(what)
    try {
      machine.point(`${what}: sent`)
      await machine.clock.wait(REQUEST_MS, signal)
      if (local !== undefined) throw local
      const [cloud, reply] = judge(machine.world().cloud)
      changeCloud(() => cloud)
      machine.point(`${what}: carried out`)
      await machine.clock.wait(reply.afterMs, signal)
      machine.note(`${what}: ${told(reply)}`)
      machine.point(`${what}: answered`)
      if (reply.reply === 'failure') {
        const { code, retryAfterMs } = reply
        throw new Failure(code, what, retryAfterMs === undefined ? {} : { retryAfterMs })
      }
      return reply
    } finally {
      busy.delete(what)
    }
  }

  const open = async ({ assignedHub }: Assigned, ref: CredentialRef, signal: AbortSignal) => {
    const { tally } = machine.world()
    machine.change({ tally: { ...tally, connections: tally.connections + 1 } })
    watch.onUse(ref, 'hub')
    const judge = (cloud: Cloud) => connect(cloud, presentedBy(machine, ref), assignedHub, machine.trueMs())
    await exchange(`${assignedHub}: connect with ${nameOf(ref)}`, judge, signal)
    if (live?.over === false) {
      watch.onWrong(`a session with ${nameOf(ref)} while one with ${nameOf(live.ref)} lives`)
      live.end('HUB_CLOSED', 'another session of this device began')
    }
    const session = createSession(machine, ref, assignedHub)
    live = session
    return session
  }

  const registerOnce = async (ref: CredentialRef, signal: AbortSignal) => {
    const { tally } = machine.world()
    machine.change({ tally: { ...tally, registrations: tally.registrations + 1 } })
    watch.onUse(ref, 'DPS')
    const judge = (cloud: Cloud) => register(cloud, presentedBy(machine, ref), machine.trueMs())
    const reply = await exchange(`DPS: register ${nameOf(ref)}`, judge, signal)
    if (reply.reply === 'assigned') return reply.assigned
    throw new Failure('UNEXPECTED', 'DPS answered without an assignment')
  }

  /** The certificate that came with the answer, in one write; what is not stored by then never was. */
  const store = (): CredentialRef => {
    const { disk } = machine.world()
    const ref = nextGeneration(disk)
    const nowMs = machine.trueMs()
    if (disk.isFull) throw new Failure('DISK_FULL', `the certificate ${ref.generation} was not written`)
    machine.point(`before the write of ${ref.generation}`)
    const certificate = { ref, notBeforeMs: nowMs, notAfterMs: nowMs + CERTIFICATE_MS, isManaged: true }
    machine.change({ disk: withCertificate(disk, certificate) })
    machine.note(`disk: ${ref.generation}`)
    machine.point(`after the write of ${ref.generation}`)
    return ref
  }

  return {
    session: () => (live?.over === false ? live : undefined),
    changeCloud,
    sendSomething: () => outgoing.ring(),
    async link(ref, start, events, signal) {
      if (!holds(machine.world().disk, ref, policy))
        throw new Failure('KEY_UNREADABLE', `${nameOf(ref)} is not on this device`)
      machine.note(`link with ${nameOf(ref)}, ${start}`)
      let shown = ref
      let issued: CredentialRef | undefined
      let mayRest = start !== 'cached' && !isPending(ref)
      const isManaged = () =>
        policy.onboarding !== undefined &&
        machine.world().disk.certificates.some((held) => held.isManaged && isSameRef(held.ref, shown))
      await supervise<Assigned, AttendedSession>(
        {
          clock: machine.clock,
          random: machine.random,
          start,
          gate: (until) => events.gate(until),
          loadAssignment: async () => machine.world().disk.assignment,
          async saveAssignment(assignment) {
            const { disk } = machine.world()
            if (disk.assignment?.assignedHub === assignment.assignedHub) return
            machine.change({ disk: { ...disk, assignment } })
            machine.point('after the write of the assignment')
          },
          async register(until) {
            if (!isManaged()) {
              const assigned = await registerOnce(shown, until)
              if (isPending(shown)) issued = shown = store()
              return assigned
            }
            const { assignment } = machine.world().disk
            const rests = mayRest
            mayRest = false
            if (rests && assignment !== undefined) return assignment
            throw new Failure('DPS_CSR_NEEDED', 'the certificate in use cannot be registered again')
          },
          onRegistered() {
            const by = issued
            issued = undefined
            return events.registered(by !== undefined || !isManaged(), by)
          },
          open(assignment, until) {
            const { pointer } = machine.world().disk
            const other = pointer?.lane === 'x509' ? pointer : undefined
            const presented = isPending(shown) ? other : shown
            if (presented === undefined || isPending(presented))
              throw new Failure('AUTH_NO_CERTIFICATE', 'DPS has not issued a certificate yet')
            return open(assignment, presented, until)
          },
          onSession: (session, until) =>
            session.attend({ machine, events, outgoing, onTwin: () => watch.onTwin() }, until),
          onState: () => undefined,
          onFailed: (failure) => events.failed(failure),
          onTrouble: (failure) => watch.onWrong(`supervision: ${failure.message}`),
        },
        signal,
      )
    },
  }
}

/** A token is signed with the time of the device; a certificate has dates of its own. */
function presentedBy(machine: Machine, ref: CredentialRef): Presented {
  const { disk, wallAheadMs } = machine.world()
  const name = nameOf(ref)
  if (ref.lane === 'sas' || isPending(ref)) return { name, stale: wallAheadMs < -TOKEN_MS }
  const held = disk.certificates.find((certificate) => certificate.ref.generation === ref.generation)
  const nowMs = machine.trueMs()
  return { name, stale: held === undefined || held.notAfterMs < nowMs || held.notBeforeMs > nowMs }
}

/** With a clock that is far off, the device does not believe any server. */
function wallFailure(wallAheadMs: number): Failure | undefined {
  if (Math.abs(wallAheadMs) < SERVER_DATES_MS) return undefined
  return new Failure('TLS_SERVER_DATES', 'the certificate of the server is not valid by this clock')
}

function told(reply: Reply): string {
  switch (reply.reply) {
    case 'assigned':
      return `assigned to ${reply.assigned.assignedHub}`
    case 'accepted':
      return 'accepted'
    case 'failure':
      return reply.code
  }
}
