/**
 * An ordinary program on the device: hands samples in over telemetry.sock, and each of them again, under the same ID, until
 * the agent has said that it is stored. `node sender.ts SOCKET COUNT`, a line of JSON for each answer.
 *
 * @see docs/telemetry.md: nothing here but HTTP
 */
import { request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'

/** What the story reads. */
export type SenderLine =
  | { readonly stored: number }
  | { readonly refused: string }
  | { readonly failed: string }
  | { readonly done: number }

/** The streams that the samples take turns in. */
export const STREAMS = ['press', 'belt', 'oven'] as const

/** Samples in one request. */
const TOGETHER = 20

/** A program that was refused, or found nobody, comes again. */
const AGAIN_MS = 50

export interface SentSample {
  readonly id: string
  readonly stream: string
  readonly body: { readonly stream: string; readonly n: number; readonly pressure: number }
}

/** The sample of this number, from 1 on; every one can be told from its body alone. */
export function sampleOf(number: number): SentSample {
  const stream = STREAMS[number % STREAMS.length] ?? STREAMS[0]
  const n = Math.floor((number - 1) / STREAMS.length) + 1
  return { id: `story-${number}`, stream, body: { stream, n, pressure: 1000 + (number % 17) } }
}

async function sendAll(socketPath: string, count: number): Promise<void> {
  for (let from = 1; from <= count; from += TOGETHER) {
    const numbers = Array.from({ length: Math.min(TOGETHER, count - from + 1) }, (_, at) => from + at)
    const body = JSON.stringify(numbers.map(sampleOf))
    while (!(await handIn(socketPath, body))) await pause(AGAIN_MS)
    say({ stored: numbers.length })
  }
  say({ done: count })
}

/** True when the agent has stored all of it. */
async function handIn(socketPath: string, body: string): Promise<boolean> {
  try {
    const { status, text } = await post(socketPath, body)
    if (status === 200) return true
    const { error } = JSON.parse(text) as { readonly error: { readonly code: string } }
    say({ refused: error.code })
  } catch (error) {
    say({ failed: error instanceof Error ? error.message : String(error) })
  }
  return false
}

function post(socketPath: string, body: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const asked = request({ socketPath, method: 'POST', path: '/telemetry?envelope=true', headers }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

function say(line: SenderLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

if (import.meta.main) await sendAll(process.argv[2] ?? '', Number(process.argv[3]))
