/** The service side of DPS and every hub: REST over TLS, signed with a shared access policy. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dps } from '../dps/dps.ts'
import type { Faults } from '../faults.ts'
import type { Recorder } from '../model.ts'
import { ServiceError } from '../model.ts'
import { dpsRoutes } from './dps-routes.ts'
import type { Call, Reply } from './exchange.ts'
import { dpsRefusal, hubRefusal, readCall } from './exchange.ts'
import { hubRoutes } from './hub-routes.ts'
import type { ServiceHub } from './identity-form.ts'
import type { ServicePolicy } from './policies.ts'
import { accessProblem, connectionStringOf, makeDpsPolicies } from './policies.ts'
import type { RouteRow } from './route.ts'
import { findRoute } from './route.ts'

export interface ServiceOptions {
  readonly hubs: readonly (ServiceHub & { readonly policies: readonly ServicePolicy[] })[]
  readonly dps: Dps
  readonly faults: Faults
  readonly recorder: Recorder
  /** Wall time in milliseconds. */
  readonly now: () => number
}

export interface CloudService {
  /** Answers one request for `host`, the name of SNI without a port. Never rejects for what a client sent. */
  handle(request: IncomingMessage, response: ServerResponse, host: string): Promise<void>
  /**
   * What the official packages take as a connection string; the owner's policy when left out.
   *
   * @throws RangeError for a host or policy that does not exist
   */
  connectionString(host: string, policyName?: string): string
  readonly dpsPolicies: readonly ServicePolicy[]
}

/** One REST API behind one host. */
interface Api {
  readonly kind: 'hub' | 'dps'
  readonly policies: readonly ServicePolicy[]
  /** The row that fits, bound to what it works on; undefined when there is none. */
  find(call: Call): { readonly rights: readonly string[]; run(): Reply | Promise<Reply> } | undefined
  refusal(error: ServiceError, nowMs: number): Reply
}

export function createService(options: ServiceOptions): CloudService {
  const { hubs, dps, faults, recorder, now } = options
  const dpsPolicies = makeDpsPolicies()
  const apis = new Map<string, Api>(
    hubs.map((hub) => [
      hub.host,
      { kind: 'hub', policies: hub.policies, find: finder(hubRoutes, hub), refusal: hubRefusal },
    ]),
  )
  apis.set(dps.host, { kind: 'dps', policies: dpsPolicies, find: finder(dpsRoutes, dps), refusal: dpsRefusal })

  const answer = async (api: Api, host: string, request: IncomingMessage): Promise<Reply> => {
    const call = await readCall(request)
    const found = api.find(call)
    const problem = accessProblem({
      authorization: call.header('authorization'),
      ...{ host, path: `/${call.path.join('/')}`, policies: api.policies, nowMs: now() },
      rights: found?.rights ?? api.policies.flatMap((policy) => policy.rights),
    })
    if (problem !== undefined) throw new ServiceError(401002, `Unauthorized: ${problem}.`)
    if (api.kind === 'hub' && faults.get('disableLocalAuth') === 'true')
      throw new ServiceError(401002, 'Unauthorized: local authentication is disabled for this hub.')
    if (!/^\d{4}-\d{2}-\d{2}(?:-preview)?$/.test(call.query.get('api-version') ?? ''))
      throw new ServiceError(400004, 'The api-version is missing or no date.')
    if (found === undefined) throw new ServiceError(404000, `There is no ${call.method} /${call.path.join('/')}.`)
    return found.run()
  }

  return {
    dpsPolicies,
    connectionString(host, policyName) {
      const policies = apis.get(host)?.policies ?? []
      const policy = policyName === undefined ? policies[0] : policies.find(({ name }) => name === policyName)
      if (policy === undefined) throw new RangeError(`no policy ${policyName ?? ''} at ${host}`)
      return connectionStringOf(host, policy)
    },
    async handle(request, response, host) {
      const api = apis.get(host)
      const reply =
        api === undefined
          ? { status: 404 }
          : await answer(api, host, request).catch((cause: unknown) => api.refusal(serviceErrorOf(cause), now()))
      const [path = '/'] = (request.url ?? '/').split('?')
      recorder.add({ kind: 'service', host, method: request.method ?? '', path, status: reply.status })
      write(response, reply, now())
    },
  }
}

function finder<T>(rows: readonly RouteRow<T>[], target: T): Api['find'] {
  return (call) => {
    const found = findRoute(rows, call)
    return found && { rights: found.row.rights, run: () => found.row.run(target, call, found.id) }
  }
}

/** An error of ours must not end the process: it reads as 500. */
function serviceErrorOf(cause: unknown): ServiceError {
  if (cause instanceof ServiceError) return cause
  return new ServiceError(500000, cause instanceof Error ? cause.message : String(cause))
}

/** The date is that of the stand-in's clock, not of the machine. */
function write(response: ServerResponse, { status, headers = {}, body }: Reply, nowMs: number): void {
  if (response.destroyed) return
  const text = body === undefined ? '' : JSON.stringify(body)
  const type = body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }
  const date = new Date(nowMs).toUTCString()
  response.writeHead(status, { ...type, date, 'content-length': String(Buffer.byteLength(text)), ...headers })
  response.end(text)
}
