import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { asFailure, Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { listenOn, stopListening } from '../../system/unix-socket.ts'
import { createAdmission } from './admission.ts'
import { createClient, IDLE_MS } from './client.ts'
import type { Client } from './client.ts'
import { createCrowd, MAX_CONNECTIONS } from './crowd.ts'
import { refuseSyntax } from './malformed.ts'
import type { IntakeCounts, IntakeOptions } from './port.ts'
import { serve, turnAway } from './serve.ts'
import { createRoom } from './whole.ts'

export type { IntakeCounts, IntakeHealth, IntakeOptions } from './port.ts'

export interface Intake extends AsyncDisposable {
  counts(): IntakeCounts
}

const MAX_HEADER_BYTES = 16 * 1024

/** Bytes of all requests together that must be read as a whole. */
const MAX_WHOLE_BYTES = 16 * 1024 * 1024

/** How long requests that are being stored may take when the agent stops. */
const STOP_MS = 1000

/**
 * Opens the door for programs of this device: HTTP/1.1 on a Unix socket that owner and group may use. `POST /telemetry`
 * is answered when the samples are stored, `GET /health` at once. Closing lets what is being stored be answered, up to
 * a second.
 *
 * @throws Failure AGENT_ALREADY_RUNNING  an agent listens there
 * @throws Failure TELEMETRY_UNAVAILABLE  the socket cannot be made
 */
export async function openIntake(options: IntakeOptions): Promise<Intake> {
  const { path, clock } = options
  let stopping = false
  const clients = new Map<Socket, Client>()
  const crowd = createCrowd()
  const counts = { accepted: 0, refused: {} as Record<string, number> }
  const onFailure = (error: unknown) => options.onFailure(asFailure(error))
  const refused = ({ code }: Failure) => {
    counts.refused[code] = (counts.refused[code] ?? 0) + 1
  }
  const door = {
    options,
    admit: createAdmission(options),
    room: createRoom(MAX_WHOLE_BYTES),
    stored: (samples: number) => void (counts.accepted += samples),
    refused,
  }
  const server = createHttpServer()
  const take = (request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean) => {
    const client = clients.get(request.socket)
    client?.take(async () => {
      const incoming = { request, response, client, door, awaitsContinue }
      await ((await crowd.admits(client)) ? serve(incoming) : turnAway(incoming))
    })
  }
  server.on('connection', (socket: Socket) => {
    const { identify = nobodyKnows } = options
    if (stopping) socket.destroy()
    const client = createClient(socket, { clock, identify, onFailure })
    clients.set(socket, client)
    crowd.enter(client)
    socket.once('close', () => {
      clients.delete(socket)
      crowd.leave(client)
    })
  })
  server.on('request', (request, response) => take(request, response, false))
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => take(request, response, true))
  server.on('clientError', (error, socket) => {
    const failure = refuseSyntax(error, socket as Socket, clients.get(socket as Socket)?.isBusy() === true)
    if (failure !== undefined) refused(failure)
  })

  const name = await listenOn(server, { path, clock, unavailable: 'TELEMETRY_UNAVAILABLE' })
  server.on('error', onFailure)
  return {
    counts: () => ({ accepted: counts.accepted, refused: { ...counts.refused } }),
    async [Symbol.asyncDispose]() {
      await name[Symbol.asyncDispose]()
      stopping = true
      for (const client of clients.values()) client.end(new Failure('OUTBOX_BUSY', 'the agent is stopping'))
      await settled([...clients.values()], clock)
      for (const socket of clients.keys()) socket.destroy()
      await stopListening(server)
    },
  }
}

/** Time limits are the clients' own, by the clock of the agent; the header that tells them is Node's. */
function createHttpServer(): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    requireHostHeader: false,
    headersTimeout: 0,
    requestTimeout: 0,
    keepAliveTimeout: IDLE_MS,
  })
  server.maxConnections = MAX_CONNECTIONS
  return server
}

async function settled(clients: readonly Client[], clock: Clock): Promise<void> {
  if (clients.every((client) => !client.isBusy())) return
  const over = new AbortController()
  const limit = clock.wait(STOP_MS, over.signal).catch((error: unknown) => {
    if (!over.signal.aborted) throw error
  })
  await Promise.race([Promise.all(clients.map((client) => client.settled())), limit])
  over.abort()
}

function nobodyKnows(): Promise<undefined> {
  return Promise.resolve(undefined)
}
