/** `npm run cloud`: the stand-in alone, with how to reach it, until SIGINT or SIGTERM. */
import { once } from 'node:events'
import { parseArgs } from 'node:util'

import { shownOf } from './body.ts'
import { startCloud, type Cloud, type CloudOptions } from './cloud.ts'
import { startControl } from './control.ts'
import { startEst, type Est } from './est.ts'
import type { Telemetry } from './model.ts'
import type { RecordedEvent } from './record.ts'

const USAGE = `npm run cloud -- [options]
  --port N           MQTT over TLS (0: a free port; default 8883)
  --https-port N     WebSocket and service side (0: a free port; default 0)
  --est-port N       certificates over EST (0: a free port; default 0)
  --control-port N   faults, events, signing (0: a free port; default 0)
  --address A        where to listen (default 127.0.0.1)
  --dps-host NAME    name of DPS (default dps.localhost)
  --hub-host NAME    name of a hub; may be repeated (default hub-1.localhost and hub-2.localhost)
  --id-scope SCOPE   ID scope of DPS
  --folder DIR       where the authority's files stay (default: a temporary folder)
  --quick            EC keys instead of RSA 4096: starts at once
  --tls13            offers TLS 1.3 too
  --quiet            does not log each event`

const options = {
  port: { type: 'string', default: '8883' },
  'https-port': { type: 'string', default: '0' },
  'est-port': { type: 'string', default: '0' },
  'control-port': { type: 'string', default: '0' },
  address: { type: 'string', default: '127.0.0.1' },
  'dps-host': { type: 'string' },
  'hub-host': { type: 'string', multiple: true },
  'id-scope': { type: 'string' },
  folder: { type: 'string' },
  quick: { type: 'boolean', default: false },
  tls13: { type: 'boolean', default: false },
  quiet: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values']

try {
  const { values } = parseArgs({ options })
  if (values.help) console.log(USAGE)
  else await run(values)
} catch (cause) {
  // A wrong option or a port that is taken; anything else is ours and keeps its stack.
  if (!(cause instanceof Error && (cause instanceof RangeError || 'code' in cause))) throw cause
  console.error(`${cause.message}\n\n${USAGE}`)
  process.exitCode = 2
}

async function run(values: Values): Promise<void> {
  const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  if (!values.quick) console.log('making the authority: RSA 4096, this takes some seconds')
  await using cloud = await startCloud(optionsOf(values))
  await using control = await startControl(cloud, portOf(values, 'control-port'))
  await using est = await startEst(cloud.authority, portOf(values, 'est-port'), values.address)
  cloud.enrollFleet()
  cloud.enrollSasFleet()
  if (!values.quiet) cloud.record.listen((event) => console.log(lineOf(event)))
  console.log(directions(cloud, control.url, est))
  await stopped
  console.log('stopping')
}

function optionsOf(values: Values): CloudOptions {
  const texts = { dpsHost: values['dps-host'], idScope: values['id-scope'], folder: values.folder }
  const given = Object.entries(texts).filter(([, text]) => text !== undefined)
  return {
    port: portOf(values, 'port'),
    httpsPort: portOf(values, 'https-port'),
    address: values.address,
    ...(values['hub-host'] === undefined ? {} : { hubHosts: values['hub-host'] }),
    ...Object.fromEntries(given),
    authority: values.quick ? 'quick' : 'tutorial',
    maxTlsVersion: values.tls13 ? 'TLSv1.3' : 'TLSv1.2',
  }
}

function portOf(values: Values, name: 'port' | 'https-port' | 'est-port' | 'control-port'): number {
  const port = Number(values[name])
  if (values[name].trim() === '' || !Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError(`--${name} is a port, not ${values[name]}`)
  return port
}

function directions(cloud: Cloud, controlUrl: string, est: Est): string {
  const hubs = cloud.hubs.map((hub) => cloud.hubAddress(hub)).join(', ')
  return `
hubs: ${hubs}; enrollment groups: fleet-x509, fleet-sas; HTTPS (WebSocket, service side): port ${cloud.httpsPort}

# for the agent
export DPS_HOST=${cloud.dpsAddress}
export DPS_ID_SCOPE=${cloud.idScope}
export IOT_AGENT_CA_FILE=${cloud.caFile}
export DEVICE_ID=press-07 IOT_AGENT_STATE_DIR=$HOME/press-07/state IOT_AGENT_RUNTIME_DIR=$HOME/press-07/run

# for the service packages
export DPS_SERVICE_CONNECTION_STRING='${cloud.connectionString(cloud.dps.host)}'
export IOTHUB_SERVICE_CONNECTION_STRING='${cloud.connectionString(cloud.hub.host)}'

# sign a device's request
curl -sf --data-binary @device.csr ${controlUrl}/sign > device.pem

# certificates over EST, in config.toml; the password is ${est.password}, its file has mode 0600
[issuer]
kind = "est"
[issuer.est]
server = "${est.url}"
caFile = "${cloud.caFile}"
user = "press-07"
passwordFile = "$HOME/press-07/est.password"

# the SAS key of a device (mode 0600), for IOT_AGENT_SAS_KEY_FILE
(umask 077 && curl -sf ${controlUrl}/keys/press-07 > sas.key)

# look and disturb
curl -s ${controlUrl}/status
curl -s ${controlUrl}/events
curl -s ${controlUrl}/faults/table
curl -s -X PUT -d '{"twinAnswer":"429"}' ${controlUrl}/faults
curl -s -X DELETE ${controlUrl}/faults
curl -s -X PATCH -d '{"status":"disabled"}' ${controlUrl}/devices/press-07
curl -s -X PATCH -d '{"desired":{"auth":{"mode":"x509"}}}' ${controlUrl}/devices/press-07/twin
`
}

/** One event as one line. */
function lineOf(event: RecordedEvent): string {
  const { kind, seq, at, host, ...rest } = event
  const time = new Date(at).toISOString().slice(11, 23)
  const told =
    'message' in rest
      ? `${rest.message.deviceId} ${shortOf(rest.message)}`
      : Object.values(rest)
          .filter((value) => value !== '')
          .map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value)))
          .join(' ')
  return `${time} ${String(seq).padStart(5)} ${kind.padEnd(12)} ${host} ${told}`
}

/** The beginning of a body, as it can be shown on a terminal. */
function shortOf(message: Telemetry): string {
  const [shown = ''] = Object.values(shownOf(message))
  return shown.slice(0, 120).replaceAll(/\p{Cc}/gu, '.')
}
