/** The door for people and scripts: plain HTTP on loopback, beside the TLS ports and not part of what Azure has. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { shownOf } from './body.ts'
import type { Cloud } from './cloud.ts'
import { createFaults, faultTable } from './faults.ts'
import type { LocalHub } from './hub/hub.ts'
import { ServiceError } from './model.ts'
import type { RecordedEvent } from './record.ts'
import { deriveDeviceKey } from './sas.ts'
import { applyConfiguration } from './service/configuration.ts'

export interface Control extends AsyncDisposable {
  readonly url: string
}

interface Asked {
  readonly cloud: Cloud
  readonly url: URL
  readonly body: string
  /** Parts of the path that the pattern names, decoded. */
  readonly parts: readonly string[]
}

type Answer = { readonly json: unknown } | { readonly text: string }

interface Route {
  readonly method: string
  readonly path: RegExp
  readonly answer: (asked: Asked) => Answer | Promise<Answer>
}

/** Every route, one row each. */
const routes: readonly Route[] = [
  { method: 'GET', path: /^\/status$/, answer: ({ cloud }) => ({ json: statusOf(cloud) }) },
  { method: 'GET', path: /^\/faults$/, answer: ({ cloud }) => ({ json: cloud.faults.all() }) },
  { method: 'GET', path: /^\/faults\/table$/, answer: () => ({ json: faultTable }) },
  { method: 'PUT', path: /^\/faults$/, answer: setFaults },
  {
    method: 'DELETE',
    path: /^\/faults$/,
    answer({ cloud }) {
      cloud.faults.reset()
      return { json: cloud.faults.all() }
    },
  },
  { method: 'GET', path: /^\/events$/, answer: listEvents },
  { method: 'GET', path: /^\/devices$/, answer: ({ cloud }) => ({ json: cloud.hubs.flatMap(devicesOf) }) },
  { method: 'PATCH', path: /^\/devices\/([^/]+)$/, answer: setStatus },
  { method: 'DELETE', path: /^\/devices\/([^/]+)$/, answer: removeDevice },
  {
    method: 'GET',
    path: /^\/devices\/([^/]+)\/twin$/,
    answer: (asked) => ({ json: hubOf(asked).twin(deviceOf(asked)) }),
  },
  { method: 'PATCH', path: /^\/devices\/([^/]+)\/twin$/, answer: patchTwin },
  { method: 'POST', path: /^\/devices\/([^/]+)\/c2d$/, answer: sendC2d },
  { method: 'POST', path: /^\/devices\/([^/]+)\/methods\/([^/]+)$/, answer: callMethod },
  { method: 'POST', path: /^\/configurations$/, answer: configure },
  { method: 'POST', path: /^\/sign$/, answer: sign },
  { method: 'GET', path: /^\/keys\/([^/]+)$/, answer: deviceKey },
]

const MAX_BODY_BYTES = 1024 * 1024
const MAX_EVENTS = 1000

/** @param port 0 takes a free one */
export async function startControl(cloud: Cloud, port = 0): Promise<Control> {
  const server = createServer((request, response) => {
    serve(cloud, request, response).catch((cause: unknown) => {
      const { status, message } = refusalOf(cause)
      if (!response.headersSent) reply(response, status, { json: { error: message } })
    })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

async function serve(cloud: Cloud, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://control')
  const here = routes.filter((route) => route.path.test(url.pathname))
  const route = here.find((candidate) => candidate.method === request.method)
  if (here.length === 0) throw new ServiceError(404000, `There is nothing at ${url.pathname}.`)
  if (route === undefined) throw new ServiceError(405000, `${url.pathname} does not know ${request.method ?? ''}.`)
  const parts = (route.path.exec(url.pathname) ?? []).slice(1).map(decoded)
  reply(response, 200, await route.answer({ cloud, url, parts, body: await readBody(request) }))
}

function reply(response: ServerResponse, status: number, answer: Answer): void {
  const isText = 'text' in answer
  const body = isText ? answer.text : `${JSON.stringify(answer.json)}\n`
  response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', connection: 'close' })
  response.end(body)
}

function refusalOf(cause: unknown): { readonly status: number; readonly message: string } {
  if (cause instanceof ServiceError) return cause
  return { status: 500, message: cause instanceof Error ? cause.message : String(cause) }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new ServiceError(413000, `A body of more than ${MAX_BODY_BYTES} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** All or nothing: with one bad name or value no fault changes. */
function setFaults({ cloud, body }: Asked): Answer {
  const wished = Object.entries(objectOf(body)).map(([name, value]) => [name, String(value)] as const)
  const rehearsal = createFaults()
  const problems = wished.map(([name, value]) => rehearsal.setText(name, value)).filter((text) => text !== undefined)
  if (problems.length > 0) throw new ServiceError(400000, `${problems.join('; ')}.`)
  for (const [name, value] of wished) cloud.faults.setText(name, value)
  return { json: cloud.faults.all() }
}

function listEvents({ cloud, url }: Asked): Answer {
  const since = Number(url.searchParams.get('since') ?? '0')
  if (!Number.isSafeInteger(since) || since < 0) throw new ServiceError(400000, 'since is the seq of an event.')
  return { json: cloud.record.events(since).slice(0, MAX_EVENTS).map(eventAsJson) }
}

/** An event for JSON: bodies as text, unpacked; as `bodyBase64` when they are none. */
export function eventAsJson(event: RecordedEvent): unknown {
  if (event.kind !== 'telemetry') return event
  const { body: _, ...rest } = event.message
  return { ...event, message: { ...rest, ...shownOf(event.message) } }
}

function statusOf(cloud: Cloud) {
  const kinds = ['connected', 'disconnected', 'refused', 'registered', 'telemetry', 'reported', 'service'] as const
  return {
    ...{ port: cloud.port, httpsPort: cloud.httpsPort, idScope: cloud.idScope, caFile: cloud.caFile },
    dps: cloud.dpsAddress,
    hubs: cloud.hubs.map((hub) => cloud.hubAddress(hub)),
    connections: cloud.connections(),
    seq: cloud.record.seq(),
    counts: Object.fromEntries(kinds.map((kind) => [kind, cloud.record.count(kind)])),
    receivedBytes: cloud.record.receivedBytes(),
  }
}

function devicesOf(hub: LocalHub) {
  return hub.identities().map(({ deviceId, status, authentication }) => ({
    ...{ hub: hub.host, deviceId, status, authType: authentication.type },
    connected: hub.isConnected(deviceId),
    queued: hub.queued(deviceId),
  }))
}

function setStatus(asked: Asked): Answer {
  const hub = hubOf(asked)
  const { status } = objectOf(asked.body)
  const identity = hub.identity(deviceOf(asked))
  if (identity === undefined || (status !== 'enabled' && status !== 'disabled'))
    throw new ServiceError(400000, 'The body is {"status":"enabled"} or {"status":"disabled"}.')
  hub.putIdentity({ ...identity, status })
  return { json: devicesOf(hub).find(({ deviceId }) => deviceId === identity.deviceId) }
}

function removeDevice(asked: Asked): Answer {
  hubOf(asked).removeIdentity(deviceOf(asked))
  return { json: {} }
}

function patchTwin(asked: Asked): Answer {
  const { tags, desired } = objectOf(asked.body)
  const patch = Object.fromEntries(Object.entries({ tags, desired }).filter(([, part]) => part !== undefined))
  return { json: hubOf(asked).patchTwin(deviceOf(asked), patch) }
}

/** `{targetCondition, desired}`: evaluated once, now, on every hub. */
function configure(asked: Asked): Answer {
  const { targetCondition, desired } = objectOf(asked.body)
  if (typeof targetCondition !== 'string') throw new ServiceError(400000, 'targetCondition is a text')
  const wanted = { targetCondition, desired: asObject(desired, 'desired') }
  return { json: { targeted: asked.cloud.hubs.flatMap((hub) => applyConfiguration(hub, wanted)) } }
}

function asObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ServiceError(400000, `${name} is an object`)
  }
  return { ...value }
}

/** The body of the request is the message; parameters of the query are its properties. */
function sendC2d(asked: Asked): Answer {
  hubOf(asked).sendToDevice(deviceOf(asked), asked.body, Object.fromEntries(asked.url.searchParams))
  return { json: { queued: hubOf(asked).queued(deviceOf(asked)) } }
}

async function callMethod(asked: Asked): Promise<Answer> {
  const payload = asked.body === '' ? undefined : jsonOf(asked.body)
  const name = asked.parts[1] ?? ''
  return { json: await hubOf(asked).invokeMethod(deviceOf(asked), { name, payload, responseTimeoutSeconds: 30 }) }
}

async function sign({ cloud, body }: Asked): Promise<Answer> {
  if (!body.includes('-----BEGIN CERTIFICATE REQUEST-----'))
    throw new ServiceError(400000, 'The body is a certificate request in PEM.')
  try {
    return { text: await cloud.authority.signDevice(body) }
  } catch (cause) {
    throw new ServiceError(400000, `openssl does not sign this: ${cause instanceof Error ? cause.message : ''}`)
  }
}

/** The key of one device of the first group that has keys, as the operator computes it. */
function deviceKey({ cloud, parts }: Asked): Answer {
  const group = cloud.dps.enrollments.all('group').find(({ attestation }) => attestation.type === 'symmetricKey')
  if (group?.attestation.type !== 'symmetricKey') throw new ServiceError(404000, 'No enrollment group has keys.')
  return { text: `${deriveDeviceKey(group.attestation.primaryKey, parts[0] ?? '')}\n` }
}

function deviceOf({ parts }: Asked): string {
  return parts[0] ?? ''
}

function hubOf(asked: Asked): LocalHub {
  const hub = asked.cloud.hubs.find((candidate) => candidate.has(deviceOf(asked)))
  if (hub === undefined) throw new ServiceError(404001, `No hub has a device ${deviceOf(asked)}.`)
  return hub
}

function objectOf(body: string): Record<string, unknown> {
  const value = jsonOf(body)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError(400000, 'The body is a JSON object.')
  return value as Record<string, unknown>
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body) as unknown
  } catch (cause) {
    throw new ServiceError(400000, `The body is not JSON: ${cause instanceof Error ? cause.message : ''}`)
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new ServiceError(400000, `${part} has a broken percent sign.`)
  }
}
