/** The whole stand-in: authority, DPS, hubs and service side behind one TLS port and one HTTPS port on loopback. */
import { randomBytes, X509Certificate } from 'node:crypto'
import { systemClock, type Clock } from '../../agent/system/clock.ts'
import { createNamespace, type Namespace, type Order } from './adr/namespace.ts'
import { makeCloudAuthority, type AuthorityShape, type CloudAuthority } from './authority.ts'
import { createDps, type Dps } from './dps/dps.ts'
import { createFaults, type Faults } from './faults.ts'
import type { SharedAccessPolicy } from './hub/authorize.ts'
import { createFleets, type Fleets } from './fleets.ts'
import { createHub, type LocalHub } from './hub/hub.ts'
import type { Endpoint } from './model.ts'
import { createRecord, type Record as CloudRecord } from './record.ts'
import { createService } from './service/service.ts'
import { createBroker } from './wire/broker.ts'
import { listenHttps, listenMqtt, type ListenOptions, type Service } from './wire/listen.ts'

export interface CloudOptions {
  /** MQTT over TLS; 0, the default, takes a free port. */
  readonly port?: number
  /** WebSocket and service side; 0, the default, takes a free port. */
  readonly httpsPort?: number
  /** Where to listen; loopback when left out. */
  readonly address?: string
  readonly dpsHost?: string
  readonly hubHosts?: readonly string[]
  /** Further names of SNI for an endpoint, as `{ localhost: 'hub-1.localhost' }`; the certificate carries them. */
  readonly aliases?: Readonly<Record<string, string>>
  readonly idScope?: string
  /** `quick` (default) for tests, `tutorial` for whatever people look at. */
  readonly authority?: AuthorityShape
  /** Where the authority's files stay; a temporary folder when left out. */
  readonly folder?: string
  /** TLS 1.2, as Azure, when left out. */
  readonly maxTlsVersion?: 'TLSv1.2' | 'TLSv1.3'
  readonly clock?: Clock
}

export interface Cloud extends AsyncDisposable, Fleets {
  /** Certificate management: credential policies and what they issue. An enrollment names one as `credentialPolicyName`. */
  readonly namespace: Namespace
  readonly port: number
  readonly httpsPort: number
  readonly idScope: string
  /** `host:port` as a device is told to connect; the bare host on 8883. */
  readonly dpsAddress: string
  /** The same for a hub. */
  hubAddress(hub?: LocalHub): string
  /** What a client has to trust (PEM file). */
  readonly caFile: string
  readonly authority: CloudAuthority
  /** From the next connection on every endpoint shows this certificate. */
  presentServer(server: CloudAuthority['server']): void
  readonly dps: Dps
  /** Never empty. */
  readonly hubs: readonly LocalHub[]
  /** The first hub. */
  readonly hub: LocalHub
  readonly faults: Faults
  readonly record: CloudRecord
  /** What the official service packages take, for DPS or a hub, without a port; the owner's policy when left out. */
  connectionString(host: string, policyName?: string): string
  /** Open and opening MQTT connections. */
  connections(): number
  /** Every byte that clients sent inside TLS, up to the bound of the record. */
  received(): Buffer
  close(): Promise<void>
}

const MQTT_PORT = 8883

export async function startCloud(options: CloudOptions = {}): Promise<Cloud> {
  const { address = '127.0.0.1', clock = systemClock, aliases = {}, idScope = '0ne00000001' } = options
  await using stack = new AsyncDisposableStack()
  const dpsHost = (options.dpsHost ?? 'dps.localhost').toLowerCase()
  const hubHosts = (options.hubHosts ?? ['hub-1.localhost', 'hub-2.localhost']).map((host) => host.toLowerCase())
  const hosts = [dpsHost, ...hubHosts, ...Object.keys(aliases)]
  const authority = stack.use(
    await makeCloudAuthority({
      shape: options.authority ?? 'quick',
      hosts,
      ...(options.folder === undefined ? {} : { folder: options.folder }),
    }),
  )
  const now = () => clock.now()
  const faults = createFaults()
  const record = createRecord(now)
  stack.defer(() => record.close())
  const endpoints = new Map<string, Endpoint>()
  const broker = createBroker({ endpoints: () => [dps, ...hubs], faults, recorder: record, clock })

  const listening: Omit<ListenOptions, 'port'> = {
    address,
    ...authority.server,
    maxTlsVersion: options.maxTlsVersion ?? 'TLSv1.2',
    find: (serverName) => endpoints.get((aliases[serverName] ?? serverName).toLowerCase()),
    attach: (visit) => broker.attach(visit),
    recorder: record,
  }
  const serve: Service = (request, response, host) => service.handle(request, response, host)
  // The ports come first: what DPS tells a device names them. Until the endpoints are in place every name is refused.
  const mqtt = await listenMqtt({ ...listening, port: options.port ?? 0 })
  stack.defer(() => mqtt.close())
  const https = await listenHttps({ ...listening, port: options.httpsPort ?? 0 }, () => serve)
  stack.defer(() => https.close())
  stack.defer(() => broker.close())
  const reachable = (host: string) => (mqtt.port === MQTT_PORT ? host : `${host}:${mqtt.port}`)

  const policies = makePolicies()
  const registry = createNamespace({ folder: authority.folder, faults, recorder: record, now })
  const hubs = hubHosts.map((host) =>
    createHub({ host, policies, faults, recorder: record, clock, namespace: registry }),
  )
  const namespace = withReconsideration(registry, hubs)
  const [hub] = hubs
  if (hub === undefined) throw new RangeError('a cloud has at least one hub')
  for (const each of hubs) each.authorities.push(new X509Certificate(authority.root.certificatePem))
  const dps = createDps({
    ...{ host: dpsHost, idScope, hubs, faults, recorder: record, now },
    ...{ assignedHost: reachable, issue: (order: Order) => registry.issue(order) },
  })
  const service = createService({ hubs, dps, faults, recorder: record, now })
  for (const endpoint of [dps, ...hubs]) endpoints.set(endpoint.host, endpoint)

  const everything = stack.move()
  const close = () => everything.disposeAsync()

  return {
    ...{ port: mqtt.port, httpsPort: https.port, idScope, caFile: authority.caFile, authority },
    ...{ dps, hubs, hub, faults, record, close, namespace },
    presentServer: (server) => [mqtt, https].forEach((listener) => listener.present(server)),
    dpsAddress: reachable(dpsHost),
    hubAddress: (which = hub) => reachable(which.host),
    ...createFleets(dps.enrollments, authority.intermediate.certificatePem),
    connectionString: (host, policyName) => service.connectionString(host, policyName),
    connections: () => broker.connections(),
    received: () => record.received(),
    [Symbol.asyncDispose]: close,
  }
}

/** What a revocation does to live sessions is not documented [U]: it is a change of identity to them. */
function withReconsideration(namespace: Namespace, hubs: readonly LocalHub[]): Namespace {
  return {
    ...namespace,
    revokeDevice(deviceId) {
      namespace.revokeDevice(deviceId)
      for (const hub of hubs) hub.reconsider(deviceId)
    },
    async revokeIssuer(policy) {
      await namespace.revokeIssuer(policy)
      for (const hub of hubs) for (const { deviceId } of hub.identities()) hub.reconsider(deviceId)
    },
  }
}

/** The policies that every hub has when it is made. */
function makePolicies(): readonly SharedAccessPolicy[] {
  const rights = {
    iothubowner: ['registryRead', 'registryWrite', 'serviceConnect', 'deviceConnect'],
    service: ['serviceConnect'],
    device: ['deviceConnect'],
    registryRead: ['registryRead'],
    registryReadWrite: ['registryRead', 'registryWrite'],
  } as const
  return Object.entries(rights).map(([name, granted]) => ({
    name,
    primaryKey: randomBytes(32).toString('base64'),
    secondaryKey: randomBytes(32).toString('base64'),
    rights: granted,
  }))
}
