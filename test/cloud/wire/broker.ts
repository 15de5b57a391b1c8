/** What all connections of one stand-in share: who is connected, kept sessions, and one tick for everything that ends by time. */
import type { Clock } from '../../../agent/system/clock.ts'
import type { Faults } from '../faults.ts'
import type { Endpoint, Hello, Recorder } from '../model.ts'
import { createConnection } from './connection.ts'
import type { Connection, House, Interference, Visit } from './house.ts'
import { createSession, type Session } from './session.ts'

export interface Broker {
  /** Takes over a stream whose TLS is up. */
  attach(visit: Visit): void
  /** Open and opening connections. */
  connections(): number
  close(): Promise<void>
}

export interface BrokerOptions {
  readonly endpoints: () => readonly Endpoint[]
  readonly faults: Faults
  readonly recorder: Recorder & { addReceived(bytes: Buffer): void }
  readonly clock: Clock
}

const TICK_MS = 500

export function createBroker({ endpoints, faults, recorder, clock }: BrokerOptions): Broker {
  const connections = new Set<Connection>()
  const live = new Map<string, Connection>()
  const sessions = new Map<string, Session>()
  const stop = new AbortController()
  const rate = createConnectRate(clock)
  let lastId = 0

  const house: House = {
    monotonicMs: () => clock.monotonicMs(),
    wait: (delayMs) => clock.wait(delayMs, stop.signal),
    received: (bytes) => recorder.addReceived(bytes),
    unknownTopicFilter: () => faults.get('unknownTopicFilter'),
    interfere: (endpoint) => interference(endpoint, faults, rate),
    nextId: () => (lastId += 1),
    admit(connection, hello) {
      const key = keyOf(connection.endpoint, hello)
      live.get(key)?.cut('400027: a newer connection of the same client took over')
      const known = sessions.get(key)
      const keeps = connection.endpoint.keepsSessions && !hello.clean
      const present = known !== undefined && keeps && faults.get('dropSessions') === 'false'
      if (present) return { session: known, present }
      sessions.delete(key)
      known?.end()
      const session = createSession()
      if (keeps) sessions.set(key, session)
      return { session, present: false }
    },
    refused: (endpoint, clientId, reason) => recorder.add({ kind: 'refused', host: endpoint.host, clientId, reason }),
    opened(connection, hello) {
      const { endpoint } = connection
      live.set(keyOf(endpoint, hello), connection)
      const thumbprint = hello.chain[0]?.fingerprint256.replaceAll(':', '') ?? ''
      const auth = authOf(hello)
      recorder.add({ kind: 'connected', host: endpoint.host, clientId: hello.clientId, auth, thumbprint })
    },
    ended(connection, open, reason) {
      if (open === undefined) return
      const { hello, session } = open
      const key = keyOf(connection.endpoint, hello)
      if (live.get(key) === connection) live.delete(key)
      if (sessions.get(key) !== session) session.end()
      recorder.add({ kind: 'disconnected', host: connection.endpoint.host, clientId: hello.clientId, reason })
    },
  }

  const ticking = tickUntil(stop.signal, clock, () => {
    for (const connection of connections) connection.tick()
    for (const endpoint of endpoints()) endpoint.tick?.(clock.now())
  })

  return {
    attach(visit) {
      const connection = createConnection(visit, house)
      connections.add(connection)
      visit.stream.once('close', () => connections.delete(connection))
    },
    connections: () => connections.size,
    async close() {
      for (const connection of connections) connection.cut('the stand-in stops')
      stop.abort()
      await ticking
    },
  }
}

async function tickUntil(signal: AbortSignal, clock: Clock, tick: () => void): Promise<void> {
  try {
    for (;;) {
      await clock.wait(TICK_MS, signal)
      tick()
    }
  } catch (cause) {
    if (!signal.aborted) throw cause
  }
}

function keyOf(endpoint: Endpoint, hello: Hello): string {
  return `${endpoint.host}\n${hello.clientId}`
}

/** How the client showed who it is; a token wins over a certificate that happens to be there. */
function authOf(hello: Hello): 'sas' | 'x509' | 'none' {
  if (hello.password !== '') return 'sas'
  return hello.chain.length > 0 ? 'x509' : 'none'
}

function interference(endpoint: Endpoint, faults: Faults, rate: ConnectRate): Interference | undefined {
  if (faults.get('closeAfterHandshake') === endpoint.kind) return { kind: 'close' }
  if (faults.get('connectSilence') === endpoint.kind) return { kind: 'silence' }
  const returnCode = faults.get('connectRefusal')
  if (returnCode === 1 || returnCode === 2 || returnCode === 3 || returnCode === 4 || returnCode === 5)
    return { kind: 'refuse', returnCode, reason: 'the fault connectRefusal is set' }
  const limit = faults.get('connectsPerSecond')
  if (limit > 0 && rate.count(endpoint.host) > limit)
    return { kind: 'refuse', returnCode: 3, reason: `429001: more than ${limit} connects/s` }
  return undefined
}

interface ConnectRate {
  /** Counts one more connect and says how many there were in this second. */
  count(host: string): number
}

function createConnectRate(clock: Clock): ConnectRate {
  const seconds = new Map<string, { second: number; connects: number }>()
  return {
    count(host) {
      const second = Math.floor(clock.monotonicMs() / 1000)
      const known = seconds.get(host)
      const entry = known?.second === second ? known : { second, connects: 0 }
      entry.connects += 1
      seconds.set(host, entry)
      return entry.connects
    },
  }
}
