/** The official service packages, pointed at a running stand-in, and raw requests for what they would never send. */
import iothub from 'azure-iothub'
import provisioning from 'azure-iot-provisioning-service'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import type { Cloud } from '../cloud/cloud.ts'
import { startCloud } from '../cloud/cloud.ts'
import { signSas } from '../cloud/sas.ts'

export interface ServiceBench extends AsyncDisposable {
  readonly cloud: Cloud
  readonly registry: iothub.Registry
  /** Methods go over REST; the AMQP transport of this client is never opened. */
  readonly client: iothub.Client
  readonly provisioning: provisioning.ProvisioningServiceClient
  /** A raw request; signed for the whole host by the owner unless `authorization` says otherwise. */
  readonly ask: (host: string, method: string, path: string, options?: AskOptions) => Promise<Asked>
}

export interface AskOptions {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Empty sends none. */
  readonly authorization?: string
}

export interface Asked {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

export async function startServiceBench(): Promise<ServiceBench> {
  const cloud = await startCloud()
  const { hub, dps } = cloud
  const agent = agentFor(cloud.httpsPort, cloud.caFile)
  const registry = iothub.Registry.fromConnectionString(cloud.connectionString(hub.host))
  const client = iothub.Client.fromConnectionString(cloud.connectionString(hub.host))
  const dpsClient = provisioning.ProvisioningServiceClient.fromConnectionString(cloud.connectionString(dps.host))
  for (const each of [registry, client, dpsClient]) reach(each, agent)
  return {
    ...{ cloud, registry, client, provisioning: dpsClient },
    ask: (host, method, path, options = {}) =>
      ask(agent, host, method, path, { authorization: signFor(cloud, host), ...options }),
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await cloud.close()
    },
  }
}

/** A token of a policy, for a resource, that lasts an hour unless said otherwise. */
export function signFor(
  cloud: Cloud,
  host: string,
  change: { policy?: string; resource?: string; key?: string; expiresInSeconds?: number } = {},
): string {
  const fields = cloud.connectionString(host, change.policy).split(';')
  const [, skn = '', key = ''] = fields.map((field) => field.slice(field.indexOf('=') + 1))
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + (change.expiresInSeconds ?? 3600)
  return signSas({ resource: change.resource ?? host, key: change.key ?? key, skn, expiresAtSeconds })
}

/** Every name is on loopback and the port of HTTPS is the stand-in's. */
function agentFor(port: number, caFile: string): Agent {
  const agent = new Agent({
    ca: readFileSync(caFile),
    lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
  })
  return Object.assign(agent, { defaultPort: port })
}

/** The option of the packages' own HTTP client for an agent; their constructors set it too. */
function reach(client: object, agent: Agent): void {
  const { _restApiClient: http } = client as { _restApiClient: { setOptions(options: object): void } }
  http.setOptions({ http: { agent } })
}

function ask(agent: Agent, host: string, method: string, path: string, options: AskOptions): Promise<Asked> {
  const authorization = options.authorization === '' ? {} : { authorization: options.authorization }
  return new Promise((resolve, reject) => {
    const headers = { ...authorization, ...options.headers }
    const outgoing = request({ agent, host, method, path, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
      response.on('error', reject)
    })
    outgoing.on('error', reject)
    outgoing.end(options.body)
  })
}
