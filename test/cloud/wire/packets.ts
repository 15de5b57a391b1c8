/** From the bytes of one whole packet to what a server of MQTT 3.1.1 acts on. mqtt-packet parses, the standard's rules come on top. */
import mqttPacket, { type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'

import { isFilter, isIllFormed, isTopicName } from './topics.ts'

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
}

export type ClientPacket =
  | {
      readonly type: 'connect'
      readonly clientId: string
      readonly username: string
      readonly password: string
      readonly clean: boolean
      readonly keepaliveSeconds: number
      readonly will: Will | undefined
    }
  /** A CONNECT of another protocol level: the one malformed packet that has an answer, return code 1. */
  | { readonly type: 'otherProtocol'; readonly level: number }
  | {
      readonly type: 'publish'
      readonly topic: string
      readonly payload: Buffer
      readonly qos: number
      readonly retain: boolean
      readonly id: number
    }
  | {
      readonly type: 'subscribe'
      readonly id: number
      readonly filters: readonly { readonly filter: string; readonly qos: number }[]
    }
  | { readonly type: 'unsubscribe'; readonly id: number; readonly filters: readonly string[] }
  | { readonly type: 'puback'; readonly id: number }
  | { readonly type: 'pingreq' }
  | { readonly type: 'disconnect' }

export type PacketResult =
  | { readonly ok: true; readonly value: ClientPacket }
  | { readonly ok: false; readonly problem: string }

const CONNECT = 1
const LEVEL_3_1_1 = 4

/** Parses the bytes of one packet, header included. */
export function parsePacket(bytes: Buffer): PacketResult {
  const other = (bytes[0] ?? 0) >> 4 === CONNECT ? protocolProblem(bytes) : undefined
  if (other !== undefined) return other
  const packets: Packet[] = []
  const errors: Error[] = []
  const parser = mqttPacket.parser({ protocolVersion: LEVEL_3_1_1 })
  parser.on('packet', (packet: Packet) => packets.push(packet))
  parser.on('error', (error: Error) => errors.push(error))
  parser.parse(bytes)
  const [packet] = packets
  if (errors[0] !== undefined) return broken(`malformed packet: ${errors[0].message}`)
  return packet === undefined ? broken('malformed packet: it ends too early') : judge(packet)
}

/** Section 3.1.2: name, level and flags, looked at before the parser, which throws all of them away alike. */
function protocolProblem(bytes: Buffer): PacketResult | undefined {
  const start = bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1
  const nameLength = bytes.length >= start + 2 ? bytes.readUInt16BE(start) : -1
  const name = bytes.toString('latin1', start + 2, start + 2 + nameLength)
  const level = bytes[start + 2 + nameLength]
  const flags = bytes[start + 3 + nameLength]
  if (nameLength < 0 || level === undefined || flags === undefined)
    return broken('malformed CONNECT: it ends too early')
  if (name !== 'MQTT' && name !== 'MQIsdp') return broken('malformed CONNECT: not the protocol MQTT')
  if (name === 'MQIsdp' || level !== LEVEL_3_1_1) return { ok: true, value: { type: 'otherProtocol', level } }
  if ((flags & 0xc0) === 0x40) return broken('malformed CONNECT: a password without a user name')
  if ((flags & 0x18) === 0x18) return broken('malformed CONNECT: a will of QoS 3')
  return undefined
}

function judge(packet: Packet): PacketResult {
  switch (packet.cmd) {
    case 'connect':
      return judgeConnect(packet)
    case 'publish':
      return judgePublish(packet)
    case 'subscribe': {
      const filters = packet.subscriptions.map(({ topic, qos }) => ({ filter: topic, qos }))
      const names = filters.map(({ filter }) => filter)
      return listProblem(packet.messageId, names) ?? accept({ type: 'subscribe', id: packet.messageId ?? 0, filters })
    }
    case 'unsubscribe': {
      const filters = packet.unsubscriptions
      return (
        listProblem(packet.messageId, filters) ?? accept({ type: 'unsubscribe', id: packet.messageId ?? 0, filters })
      )
    }
    case 'puback':
      return accept({ type: 'puback', id: packet.messageId ?? 0 })
    case 'pingreq':
    case 'disconnect':
      return accept({ type: packet.cmd })
    case 'auth':
    case 'connack':
    case 'pingresp':
    case 'pubcomp':
    case 'pubrec':
    case 'pubrel':
    case 'suback':
    case 'unsuback':
      break
  }
  return broken(`a client has no business with ${packet.cmd.toUpperCase()}`)
}

function judgeConnect(packet: IConnectPacket): PacketResult {
  const { will, clientId, username = '' } = packet
  if (isIllFormed(clientId) || isIllFormed(username)) return broken('malformed CONNECT: ill-formed text')
  if (will !== undefined && !isTopicName(will.topic)) return broken('malformed CONNECT: the will has no topic name')
  return accept({
    ...{ type: 'connect', clientId, username },
    password: packet.password?.toString('utf8') ?? '',
    clean: packet.clean ?? false,
    keepaliveSeconds: packet.keepalive ?? 0,
    will: will && { topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos ?? 0 },
  })
}

function judgePublish({ topic, qos, retain, payload, messageId: id = 0 }: IPublishPacket): PacketResult {
  if (!isTopicName(topic)) return broken('malformed PUBLISH: not a topic name')
  if (qos > 0 && !isPacketId(id)) return broken('malformed PUBLISH: no packet identifier')
  return accept({ type: 'publish', topic, payload: Buffer.from(payload), qos, retain, id })
}

function listProblem(id: number | undefined, filters: readonly string[]): PacketResult | undefined {
  if (!isPacketId(id ?? 0)) return broken('malformed packet: no packet identifier')
  if (filters.length === 0) return broken('malformed packet: an empty list of filters')
  return filters.every(isFilter) ? undefined : broken('malformed packet: not a topic filter')
}

function isPacketId(id: number): boolean {
  return id >= 1 && id <= 65_535
}

function accept(value: ClientPacket): PacketResult {
  return { ok: true, value }
}

function broken(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem }
}
