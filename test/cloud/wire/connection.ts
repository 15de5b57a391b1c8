/** One conversation with one client, from the first byte to the last: MQTT 3.1.1 as a server speaks it. */
import mqttPacket from 'mqtt-packet'

import type { Hello, Incoming, Link, ReturnCode, Verdict } from '../model.ts'
import { createFramer } from './framing.ts'
import type { Connection, House, Visit } from './house.ts'
import { parsePacket, type ClientPacket } from './packets.ts'
import type { Flight, Session } from './session.ts'

type Phase =
  | { readonly at: 'greeting' }
  | { readonly at: 'judging'; readonly hello: Hello }
  | { readonly at: 'mute'; readonly hello: Hello }
  | { readonly at: 'open'; readonly hello: Hello; readonly link: Link; readonly session: Session }
  | { readonly at: 'over' }

type OpenPhase = Extract<Phase, { at: 'open' }>

const DEFAULT_MAX_PACKET_BYTES = 512 * 1024
/** Time for CONNECT to arrive, and for a closed stream to drain. */
const GREETING_MS = 30_000
const DRAIN_MS = 2_000
/** IoT Hub's own cap of the time without a packet, in seconds. */
const MAX_SILENCE_SECONDS = 1767
const MAX_WAITING_BYTES = 4 * 1024 * 1024
const MAX_FLIGHTS = 200
const MAX_HELD_ACKNOWLEDGEMENTS = 100

const PINGRESP = Buffer.from([0xd0, 0x00])

export function createConnection(visit: Visit, house: House): Connection {
  const { stream, endpoint } = visit
  const framer = createFramer(endpoint.maxPacketBytes ?? DEFAULT_MAX_PACKET_BYTES)
  let phase: Phase = { at: 'greeting' }
  let heardAtMs = house.monotonicMs()
  let overAtMs = 0
  let heldAcknowledgements = 0
  /** Settles with the last acknowledgement that is held back. */
  let lastHeld: Promise<unknown> = Promise.resolve()

  /** Ends everything once; `willDue` unless the client said DISCONNECT. */
  const end = (reason: string, willDue: boolean) => {
    if (phase.at === 'over') return
    const last = phase
    phase = { at: 'over' }
    overAtMs = house.monotonicMs()
    stream.resume()
    // Not destroyed at once: a reset could overtake what the client has still to read. `tick` ends what stays open.
    stream.end()
    if (last.at === 'open') endpoint.closed(last.link, willDue)
    const hello = last.at === 'greeting' ? undefined : last.hello
    if (last.at !== 'open') house.refused(endpoint, hello?.clientId ?? '', reason)
    house.ended(connection, last.at === 'open' ? last : undefined, reason)
  }

  /** No input may end the process: an invariant of ours that breaks costs this connection only, and is recorded. */
  const failed = (cause: unknown) =>
    end(`the endpoint failed: ${cause instanceof Error ? cause.message : String(cause)}`, true)

  const write = (bytes: Buffer) => {
    if (stream.destroyed || stream.writableEnded) return
    stream.write(bytes)
    if (stream.writableLength > MAX_WAITING_BYTES) end('the client does not read what it is sent', true)
  }

  const refuse = (returnCode: ReturnCode, reason: string) => {
    write(mqttPacket.generate({ cmd: 'connack', returnCode, sessionPresent: false }))
    end(`return code ${returnCode}: ${reason}`, false)
  }

  const connection: Connection = {
    endpoint,
    cut: (reason) => end(reason, true),
    tick() {
      const silentMs = house.monotonicMs() - heardAtMs
      if (phase.at === 'over') {
        if (house.monotonicMs() - overAtMs > DRAIN_MS) stream.destroy()
      } else if (phase.at === 'open' && !stream.isPaused()) {
        const limitMs = silenceLimitMs(phase.hello.keepaliveSeconds)
        if (silentMs > limitMs) end(`nothing heard for 1.5 times the keep-alive, ${limitMs} ms`, true)
      } else if (phase.at === 'greeting' && silentMs > GREETING_MS) {
        end('no CONNECT in time', false)
      }
    },
  }

  const greet = (packet: Extract<ClientPacket, { type: 'connect' }>) => {
    const { type: _, ...said } = packet
    const hello: Hello = {
      ...said,
      serverName: visit.serverName,
      chain: visit.chain,
      transport: visit.transport,
    }
    const interference = house.interfere(endpoint)
    if (interference?.kind === 'silence') {
      phase = { at: 'mute', hello }
      return
    }
    phase = { at: 'judging', hello }
    if (interference?.kind === 'close') return end('closed without an answer, as the fault says', false)
    if (interference?.kind === 'refuse') return refuse(interference.returnCode, interference.reason)
    if (hello.clientId === '') return refuse(2, 'the client identifier is empty')
    const verdict = endpoint.authorize(hello)
    if (!(verdict instanceof Promise)) return conclude(hello, verdict)
    stream.pause()
    judgeLate(hello, verdict).catch(failed)
  }

  const judgeLate = async (hello: Hello, verdict: Promise<Verdict>) => {
    const late = await verdict
    stream.resume()
    conclude(hello, late)
    work()
  }

  const conclude = (hello: Hello, verdict: Verdict) => {
    if (phase.at !== 'judging') return
    if (!verdict.accepted) return refuse(verdict.returnCode, verdict.reason)
    const { session, present } = house.admit(connection, hello)
    const link: Link = { id: house.nextId(), hello, cut: (reason) => end(reason, true), send: sender(session) }
    phase = { at: 'open', hello, link, session }
    write(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: present }))
    for (const [id, flight] of session.flights) write(publication(flight, id, true))
    house.opened(connection, hello)
    endpoint.opened(link)
  }

  const sender =
    (session: Session): Link['send'] =>
    (topic, payload, qos, acknowledged = () => undefined, lost = () => undefined) => {
      const granted = session.grantedFor(topic)
      if (phase.at !== 'open' || granted === undefined) return false
      const flight: Flight = { topic, payload: Buffer.from(payload), acknowledged, lost }
      if (Math.min(qos, granted) === 0) {
        write(publication(flight, 0, false))
        acknowledged()
        return true
      }
      if (session.flights.size >= MAX_FLIGHTS) {
        end(`${MAX_FLIGHTS} messages wait for their PUBACK`, true)
        return false
      }
      write(publication(flight, session.takeOff(flight), false))
      return true
    }

  const publish = (open: OpenPhase, packet: Extract<ClientPacket, { type: 'publish' }>) => {
    if (packet.qos === 2) return end('a publish of QoS 2', true)
    const message: Incoming = { ...packet, qos: packet.qos === 1 ? 1 : 0 }
    const problem = endpoint.rejects?.(open.link, message)
    if (problem !== undefined) return end(problem, true)
    const delayMs = packet.qos === 1 ? endpoint.acknowledgementDelayMs(open.link, message) : 0
    if (delayMs <= 0 && heldAcknowledgements === 0) return acknowledge(open, packet.id, message)
    // Section 4.6: acknowledgements go out in the order of what they acknowledge.
    lastHeld = acknowledgeLate(open, packet.id, message, Promise.all([lastHeld, house.wait(delayMs)]))
    lastHeld.catch(failed)
  }

  const acknowledgeLate = async (open: OpenPhase, id: number, message: Incoming, due: Promise<unknown>) => {
    heldAcknowledgements += 1
    await due
    heldAcknowledgements -= 1
    acknowledge(open, id, message)
    if (stream.isPaused()) heardAtMs = house.monotonicMs()
    stream.resume()
    work()
  }

  /** PUBACK first, then whatever follows from the message. */
  const acknowledge = (open: OpenPhase, id: number, message: Incoming) => {
    if (phase !== open) return
    if (message.qos === 1) write(Buffer.from([0x40, 0x02, id >> 8, id & 0xff]))
    try {
      Promise.resolve(endpoint.received(open.link, message)).catch(failed)
    } catch (cause) {
      failed(cause)
    }
  }

  const subscribe = (open: OpenPhase, packet: Extract<ClientPacket, { type: 'subscribe' }>) => {
    const granted: number[] = []
    for (const { filter, qos } of packet.filters) {
      const { subscriptions } = open.session
      const known = endpoint.permits(open.link, filter)
      const room = subscriptions.has(filter) || subscriptions.size < endpoint.maxFilters
      if (!known && house.unknownTopicFilter() === 'close') return end(`no such topic filter: ${filter}`, true)
      if (known && room) subscriptions.set(filter, qos === 0 ? 0 : 1)
      else house.refused(endpoint, open.hello.clientId, known ? 'too many filters' : `no such topic filter: ${filter}`)
      granted.push(known && room ? Math.min(qos, 1) : 0x80)
    }
    write(mqttPacket.generate({ cmd: 'suback', messageId: packet.id, granted }))
    for (const [index, { filter }] of packet.filters.entries())
      if (phase === open && granted[index] !== 0x80) endpoint.subscribed(open.link, filter)
  }

  const obey = (open: OpenPhase, packet: ClientPacket) => {
    switch (packet.type) {
      case 'connect':
      case 'otherProtocol':
        return end('a second CONNECT', true)
      case 'publish':
        return publish(open, packet)
      case 'subscribe':
        return subscribe(open, packet)
      case 'unsubscribe':
        for (const filter of packet.filters) open.session.subscriptions.delete(filter)
        return write(Buffer.from([0xb0, 0x02, packet.id >> 8, packet.id & 0xff]))
      case 'puback': {
        const flight = open.session.flights.get(packet.id)
        open.session.flights.delete(packet.id)
        return flight?.acknowledged()
      }
      case 'pingreq':
        return write(PINGRESP)
      case 'disconnect':
        return end('the client said DISCONNECT', false)
    }
  }

  const take = (bytes: Buffer) => {
    const parsed = parsePacket(bytes)
    if (!parsed.ok) return end(parsed.problem, true)
    if (phase.at === 'open') return obey(phase, parsed.value)
    if (phase.at === 'mute') return undefined
    if (parsed.value.type === 'otherProtocol')
      return refuse(1, `protocol level ${parsed.value.level}; only MQTT 3.1.1 is spoken here`)
    if (parsed.value.type !== 'connect') return end(`the first packet is ${parsed.value.type} and not CONNECT`, false)
    return greet(parsed.value)
  }

  /** Takes packets until there is none, the endpoint is judging, or too many acknowledgements are held back. */
  const work = () => {
    while (phase.at !== 'judging' && phase.at !== 'over') {
      if (heldAcknowledgements >= MAX_HELD_ACKNOWLEDGEMENTS) {
        stream.pause()
        return
      }
      const framed = framer.next()
      if (framed.kind === 'incomplete') return
      if (framed.kind === 'broken') return end(framed.problem, true)
      take(framed.bytes)
    }
  }

  stream.on('data', (chunk: Buffer) => {
    house.received(chunk)
    if (phase.at === 'over') return
    heardAtMs = house.monotonicMs()
    framer.push(chunk)
    try {
      work()
    } catch (cause) {
      failed(cause)
    }
  })
  stream.on('error', (error) => end(`the connection broke: ${error.message}`, true))
  stream.on('close', () => end('the client closed the connection without DISCONNECT', true))
  stream.on('end', () => end('the client closed the connection without DISCONNECT', true))
  return connection
}

function publication(flight: Flight, id: number, again: boolean): Buffer {
  const { topic, payload } = flight
  const common = { cmd: 'publish', topic, payload, retain: false, dup: again } as const
  return mqttPacket.generate(id === 0 ? { ...common, qos: 0 } : { ...common, qos: 1, messageId: id })
}

function silenceLimitMs(keepaliveSeconds: number): number {
  const wished = keepaliveSeconds === 0 ? MAX_SILENCE_SECONDS : keepaliveSeconds * 1.5
  return Math.min(wished, MAX_SILENCE_SECONDS) * 1000
}
