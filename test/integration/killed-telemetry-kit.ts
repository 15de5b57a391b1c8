/** A local program that hands samples in over many lives of the agent, what arrives of them, and who ends those lives. */
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import type { Cloud } from '../cloud/cloud.ts'
import { textOf } from '../cloud/body.ts'
import type { Telemetry } from '../cloud/model.ts'
import { createChance } from '../kit/chance.ts'
import { judgeArrivals } from '../../scripts/story/judge-arrivals.ts'
import type { Arrivals } from '../../scripts/story/judge-arrivals.ts'

/** A sample of a program, its body as the program has written it. */
export interface Written {
  readonly id: string
  readonly stream: string
  /** Its number in its stream, from 1 on. */
  readonly n: number
  /** When the program has taken it, in ISO 8601. */
  readonly time: string
  readonly body: string
}

export interface Answer {
  readonly status: number
  readonly text: string
}

export interface Asking {
  /** Whose connection is used; a new one when left out. */
  readonly agent?: Agent
  /** Further parameters, as `&durability=written`. */
  readonly query?: string
}

/** Hands samples in as one request; a connection that breaks is an answer of status 0. */
export function handIn(socketPath: string, samples: readonly Written[], how: Asking = {}): Promise<Answer> {
  const { agent, query = '' } = how
  const envelopes = samples.map(
    ({ id, stream, time, body }) => `{"id":"${id}","stream":"${stream}","time":"${time}","body":${body}}`,
  )
  const payload = `[${envelopes.join(',')}]`
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
  const path = `/telemetry?envelope=true${query}`
  return new Promise((resolve) => {
    const gone = (error: Error) => resolve({ status: 0, text: error.message })
    const call = request({ socketPath, method: 'POST', path, headers, ...(agent && { agent }) }, (answer) => {
      text(answer).then((said) => resolve({ status: answer.statusCode ?? 0, text: said }), gone)
    })
    call.on('error', gone)
    call.end(payload)
  })
}

export interface ProgramOptions {
  readonly socketPath: string
  /** All IDs begin with it: the ID of the device. */
  readonly name: string
  readonly streams: readonly string[]
  readonly seed: number
  /** Hears of each request that goes out, and of each that was answered 200. */
  readonly onEvent: (event: 'asked' | 'answered') => void
}

/** A program with one connection for each of its streams, on which each group goes out again until it is stored. */
export interface Program extends AsyncDisposable {
  /** All that it has handed in, by ID. */
  readonly written: ReadonlyMap<string, Written>
  /** Makes no more; resolves once all was answered. */
  finish(): Promise<void>
}

/** What the door says that is no fault of the program: nobody there, cut off, or an agent that is stopping. */
const COME_AGAIN: readonly number[] = [0, 503]

export function startSender({ socketPath, name, streams, seed, onEvent }: ProgramOptions): Program {
  const written = new Map<string, Written>()
  let isEnding = false
  let isGivenUp = false

  const runStream = async (stream: string, at: number) => {
    const [chance, pauses] = [createChance(seed + 2 * at), createChance(seed + 2 * at + 1)]
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 1; !isEnding;) {
      const count = 1 + Math.floor(chance() * 10)
      const group = Array.from({ length: count }, (_, at) => writeSample(name, stream, n + at, chance))
      for (const sample of group) written.set(sample.id, sample)
      n += count
      await handInUntilStored(group, agent, pauses)
      await pause(pauses() * 20)
    }
    agent.destroy()
  }
  const handInUntilStored = async (group: readonly Written[], agent: Agent, pauses: () => number) => {
    while (!isGivenUp) {
      const answer = handIn(socketPath, group, { agent })
      onEvent('asked')
      const { status, text } = await answer
      if (status === 200) return onEvent('answered')
      assert.ok(COME_AGAIN.includes(status), `the door has answered ${status}: ${text}`)
      await pause(5 + pauses() * 20)
    }
    return undefined
  }
  const all = Promise.all(streams.map(runStream))
  // Whoever finishes hears of it; until then a failure may wait.
  all.catch(() => undefined)

  return {
    written,
    async finish() {
      isEnding = true
      await all
    },
    async [Symbol.asyncDispose]() {
      isEnding = true
      isGivenUp = true
      await Promise.allSettled([all])
    },
  }
}

/** When the programs take their first samples. */
const FIRST_AT_MS = Date.UTC(2026, 5, 1)

/** With what a careless copy would change: a zero at the end of a number, blanks, letters of more than one byte. */
function writeSample(name: string, stream: string, n: number, chance: () => number): Written {
  const size = chance() < 0.02 ? 9000 : chance() * 400
  const body = `{"stream": "${stream}", "n": ${n}, "value": ${(chance() * 100).toFixed(2)}0, "note": "${'ä€ '.repeat(size / 3)}"}`
  const time = new Date(FIRST_AT_MS + n * 1000).toISOString()
  return { id: `${name}-${stream}-${n}`, stream, n, time, body }
}

/** What has arrived of the program of one device, in its order. */
export interface Arrived {
  readonly messages: readonly Telemetry[]
  /** Samples of the program that have arrived at least once. */
  distinct(): number
}

export function watchArrivals(cloud: Cloud, deviceId: string, onSample: () => void = () => undefined): Arrived {
  const messages: Telemetry[] = []
  const ids = new Set<string>()
  cloud.record.listen((event) => {
    if (event.kind !== 'telemetry' || event.message.deviceId !== deviceId) return
    const samples = samplesOf(event.message)
    // The agent may have something of its own to say.
    if (!samples.some(({ id }) => id.startsWith(`${deviceId}-`))) return
    messages.push(event.message)
    for (const { id } of samples) {
      ids.add(id)
      onSample()
    }
  })
  return { messages, distinct: () => ids.size }
}

interface Unpacked {
  readonly id: string
  /** Text of the whole message, in which the body stands as it was written. */
  readonly text: string
  readonly stream: string
  readonly n: number
}

/** The samples in one message, alone or in a batch. */
function samplesOf(message: Telemetry): readonly Unpacked[] {
  const whole = textOf(message)
  const content: unknown = JSON.parse(whole)
  const entries = message.properties['iotAgentBatch'] === undefined ? [{ id: idOf(message), body: content }] : content
  return (entries as readonly { readonly id: string; readonly body: Pick<Written, 'stream' | 'n'> }[]).map(
    ({ id, body: { stream, n } }) => ({ id, stream, n, text: whole }),
  )
}

function idOf({ system }: Telemetry): string {
  return system['message-id'] ?? ''
}

export interface Judgement extends Arrivals {
  /** Samples whose body was not what the program had written. */
  readonly altered: number
  /** Messages that came again with another content under the same ID. */
  readonly changed: readonly string[]
  /** Samples that somebody lacks who keeps only the first message of each ID. */
  readonly lostByDropping: readonly string[]
  readonly messages: number
}

/** Counts both ends. */
export function judge(written: ReadonlyMap<string, Written>, messages: readonly Telemetry[]): Judgement {
  const firstOf = new Map<string, Telemetry>()
  const changed: string[] = []
  const kept = new Set<string>()
  let altered = 0
  for (const message of messages) {
    const id = idOf(message)
    const first = firstOf.get(id)
    if (first === undefined) for (const sample of samplesOf(message)) kept.add(sample.id)
    else if (!isSame(first, message)) changed.push(id)
    firstOf.set(id, first ?? message)
    for (const sample of samplesOf(message)) if (!isIntact(sample, message, written)) altered += 1
  }
  return {
    ...judgeArrivals([...written.values()], messages.flatMap(samplesOf)),
    ...{ altered, changed, messages: messages.length },
    lostByDropping: [...written.keys()].filter((id) => !kept.has(id)),
  }
}

function isIntact({ id, text }: Unpacked, { properties }: Telemetry, written: ReadonlyMap<string, Written>): boolean {
  const body = written.get(id)?.body
  if (body === undefined) return false
  return properties['iotAgentBatch'] === undefined ? text === body : text.includes(`"body":${body}}`)
}

function isSame(a: Telemetry, b: Telemetry): boolean {
  return a.body.equals(b.body) && saidOf(a) === saidOf(b)
}

/** What a message says beside its body. */
function saidOf({ properties, system }: Telemetry): string {
  return JSON.stringify([properties, Object.entries(system).filter(([name]) => !HUB_STAMP.test(name))])
}

/** What the hub says of a message, each time anew. */
const HUB_STAMP = /^iothub-(connection-|enqueuedtime$)/
