/** A device of the stand-in's DPS without a network: a link that keeps what it is sent, and hubs that keep what they are told. */
import { X509Certificate } from 'node:crypto'
import type { CustomAllocation } from '../cloud/dps/allocation.ts'
import type { Dps } from '../cloud/dps/dps.ts'
import { createDps } from '../cloud/dps/dps.ts'
import type { RegistrationState } from '../cloud/dps/records.ts'
import type { Faults } from '../cloud/faults.ts'
import { createFaults } from '../cloud/faults.ts'
import type { CloudEvent, Hello, HubRegistry, IdentityCredential, InitialTwin, Link } from '../cloud/model.ts'

export const ID_SCOPE = '0ne00000001'
export const NOW_MS = Date.UTC(2026, 5, 1)
export const HUB1 = 'hub1.azure-devices.net'
export const HUB2 = 'hub2.azure-devices.net'

export interface FakeHub extends HubRegistry {
  readonly devices: Map<string, { credential: IdentityCredential; twin: InitialTwin | undefined }>
}

/** A registry that remembers identities and what their twins began with. */
export function createFakeHub(host: string): FakeHub {
  const devices: FakeHub['devices'] = new Map()
  return {
    ...{ host, devices },
    has: (deviceId) => devices.has(deviceId),
    assign(deviceId, credential, initialTwin) {
      devices.set(deviceId, { credential, twin: initialTwin ?? devices.get(deviceId)?.twin })
    },
    release(deviceId) {
      const device = devices.get(deviceId)
      devices.delete(deviceId)
      return device && { tags: device.twin?.tags ?? {}, desired: device.twin?.properties?.desired ?? {} }
    },
  }
}

export interface Bench {
  readonly dps: Dps
  readonly faults: Faults
  readonly hubs: readonly [FakeHub, FakeHub]
  readonly events: readonly CloudEvent[]
  readonly setNow: (ms: number) => void
}

export function createBench(customAllocation?: CustomAllocation): Bench {
  const faults = createFaults()
  const hubs = [createFakeHub(HUB1), createFakeHub(HUB2)] as const
  const events: CloudEvent[] = []
  let nowMs = NOW_MS
  const dps = createDps({
    ...{ host: 'global.azure-devices-provisioning.net', idScope: ID_SCOPE, hubs, faults },
    recorder: { add: (event) => events.push(event) },
    now: () => nowMs,
    ...(customAllocation === undefined ? {} : { customAllocation }),
  })
  return {
    ...{ dps, faults, hubs, events },
    setNow(ms) {
      nowMs = ms
    },
  }
}

/** What DPS sent: `res/{status}`, the rest of the topic, and the body. */
export interface Answer {
  readonly status: number
  readonly topic: string
  readonly text: string
}

/** Fields of bodies that the tests look at. */
export interface Body {
  readonly operationId?: string
  readonly status?: string
  readonly errorCode?: number
  readonly trackingId?: string
  readonly message?: string
  readonly timestampUtc?: string
  readonly registrationState?: RegistrationState
}

export interface FakeDevice {
  readonly link: Link
  readonly cuts: readonly string[]
  readonly sent: readonly Answer[]
  publish(topic: string, payload?: string | Buffer): Promise<readonly Answer[]>
  register(body?: string | Buffer): Promise<Answer>
  poll(operationId: string): Promise<Answer>
  /** Registers and polls until DPS says something else than 202. */
  provision(body?: string): Promise<Answer>
}

export interface Showing {
  readonly registrationId?: string
  readonly clientId?: string
  readonly username?: string
  readonly password?: string
  /** PEM, leaf first. */
  readonly chain?: readonly string[]
}

export function helloOf(showing: Showing = {}): Hello {
  const registrationId = showing.registrationId ?? 'edge-0042'
  return {
    clientId: showing.clientId ?? registrationId,
    username:
      showing.username ?? `${ID_SCOPE}/registrations/${registrationId}/api-version=2019-03-31&ClientVersion=test`,
    password: showing.password ?? '',
    ...{ clean: true, keepaliveSeconds: 60, will: undefined, serverName: 'global.azure-devices-provisioning.net' },
    chain: (showing.chain ?? []).map((pem) => new X509Certificate(pem)),
    transport: 'mqtt',
  }
}

let lastRid = 0

export function createDevice(dps: Dps, showing: Showing = {}): FakeDevice {
  const sent: Answer[] = []
  const cuts: string[] = []
  const link: Link = {
    ...{ id: 1, hello: helloOf(showing) },
    send(topic, payload) {
      const status = Number(/^\$dps\/registrations\/res\/(\d+)\//.exec(topic)?.[1])
      sent.push({ status, topic, text: String(payload) })
      return true
    },
    cut: (reason) => void cuts.push(reason),
  }
  const publish = async (topic: string, payload: string | Buffer = '') => {
    const before = sent.length
    await dps.received(link, { topic, payload: Buffer.from(payload), qos: 1, retain: false })
    return sent.slice(before)
  }
  const one = async (topic: string, payload?: string | Buffer) => {
    const [answer] = await publish(topic, payload)
    if (answer === undefined) throw new Error(`no answer to ${topic}; cut: ${cuts.join()}`)
    return answer
  }
  const register = (body: string | Buffer = '{}') =>
    one(`$dps/registrations/PUT/iotdps-register/?$rid=${(lastRid += 1)}`, body)
  const poll = (operationId: string) =>
    one(`$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${(lastRid += 1)}&operationId=${operationId}`, ' ')
  return {
    ...{ link, cuts, sent, publish, register, poll },
    async provision(body) {
      let answer = await register(body)
      for (let turn = 0; turn < 5 && answer.status === 202; turn += 1)
        answer = await poll(bodyOf(answer).operationId ?? '')
      return answer
    },
  }
}

export function bodyOf(answer: Answer): Body {
  return JSON.parse(answer.text) as Body
}

/** The registration state of a final answer. */
export function stateOf(answer: Answer): RegistrationState {
  const state = bodyOf(answer).registrationState
  if (state === undefined) throw new Error(`no registration state in ${answer.topic} ${answer.text}`)
  return state
}

/** Why DPS refused last. */
export function lastRefusal(events: readonly CloudEvent[]): string {
  const last = events.findLast((event) => event.kind === 'refused')
  return last?.kind === 'refused' ? last.reason : ''
}
