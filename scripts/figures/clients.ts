import { join } from 'node:path'
import type { DeviceCredential } from '../../test/cloud/authority.ts'
import type { Participant } from './figures.ts'
import type { Program } from './process.ts'

/** Those that connect. */
export type Client = Exclude<Participant, 'runtime'>

export const clients = ['agent', 'python', 'sdk'] as const satisfies readonly Client[]

/** How a client comes to its hub and to the roots it trusts. */
export type Way = 'dps' | 'cached' | 'cachedCaFile'

/** What the clients run on and against. */
export interface Surroundings {
  /** The root of the stand-in's servers. */
  readonly caFile: string
  /** The same behind all the roots that Node brings, as a device has them that trusts the public authorities. */
  readonly rootsFile: string
  readonly dpsHost: string
  readonly hubHost: string
  readonly idScope: string
  /** build/iot-device-agent. */
  readonly agent: string
  /** agent-sending.ts, bundled and launched in the same way. */
  readonly agentSending: string
  /** outbox-depth.ts, in the same way. */
  readonly outboxDepth: string
  /** A copy of the runtime: two processes of one file would share its pages, and each would look smaller. */
  readonly node: string
  readonly python: string
  /** Top of the repository. */
  readonly root: string
}

export interface Device extends DeviceCredential {
  readonly deviceId: string
  /** Where the agent keeps its state. */
  readonly folder: string
}

/** One message a minute. */
const INTERVAL_SECONDS = '60'

/** The client as it runs on a device; undefined when it has no such way. */
export function programOf(client: Client, way: Way, device: Device, around: Surroundings): Program | undefined {
  const common = { ...identityOf(device), ...addressesOf(around), TELEMETRY_INTERVAL: INTERVAL_SECONDS }
  switch (client) {
    case 'agent':
      return {
        command: [around.agent, 'run'],
        environment: {
          ...common,
          ...(way === 'cachedCaFile' ? { IOT_AGENT_CA_FILE: around.caFile } : nodeTrust(around)),
          IOT_AGENT_STATE_DIR: join(device.folder, 'state'),
          IOT_AGENT_RUNTIME_DIR: join(device.folder, 'run'),
        },
      }
    case 'sdk':
      if (way === 'cachedCaFile') return undefined
      return {
        command: [around.node, join(around.root, 'scripts/figures/peers/sdk.cjs')],
        environment: {
          ...common,
          ...nodeTrust(around),
          ...(way === 'cached' ? { HUB_HOST: around.hubHost } : {}),
        },
      }
    case 'python':
      if (way !== 'dps') return undefined
      return {
        command: [around.python, join(around.root, 'test/conformance/python/iot_device_x509.py')],
        environment: { ...common, ...pythonTrust(around) },
      }
  }
}

/** The client as it sends for `seconds` in each of three manners, then prints its counts. */
export function sendingProgramOf(client: Client, device: Device, around: Surroundings, load: Load): Program {
  const environment = {
    ...identityOf(device),
    ...{ HUB_HOST: around.hubHost, BODY: load.body, SECONDS: String(load.seconds), FOLDER: device.folder },
    ...(client === 'python' ? pythonTrust(around) : nodeTrust(around)),
  }
  const peer = (name: string) => join(around.root, 'scripts/figures/peers', name)
  const commands: Record<Client, Program['command']> = {
    agent: [around.agentSending],
    sdk: [around.node, peer('sdk-sending.cjs')],
    python: [around.python, peer('python_sending.py')],
  }
  return { command: commands[client], environment }
}

export interface Load {
  readonly body: string
  readonly seconds: number
}

function identityOf({ deviceId, chainFile, keyFile }: Device) {
  return { DEVICE_ID: deviceId, CERT_PATH: chainFile, KEY_PATH: keyFile, PATH: process.env['PATH'] ?? '' }
}

function addressesOf({ dpsHost, idScope }: Surroundings) {
  return { DPS_HOST: dpsHost, DPS_ID_SCOPE: idScope }
}

function nodeTrust({ caFile }: Surroundings) {
  return { NODE_EXTRA_CA_CERTS: caFile }
}

/** Its compiled modules are in the virtual environment already; a file beside the program is not written. */
export function pythonTrust({ rootsFile }: Surroundings) {
  return { SSL_CERT_FILE: rootsFile, PYTHONDONTWRITEBYTECODE: '1' }
}
