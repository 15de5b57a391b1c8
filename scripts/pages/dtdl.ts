import { telemetryFields } from '../../agent/telemetry/fields.ts'

/** Schema of a value in DTDL version 3. */
type Schema = string | { readonly '@type': string; readonly [key: string]: unknown }

/** An element of an interface. */
interface Content {
  readonly '@type': string
  readonly [key: string]: unknown
}

interface Interface {
  readonly contents: readonly Content[]
  readonly [key: string]: unknown
}

const packetCounters = ['rxErrors', 'txErrors', 'rxDropped', 'txDropped']

const networkInterface: Schema = {
  '@type': 'Object',
  fields: [
    { name: 'up', schema: 'boolean' },
    ...['rxBytes', 'txBytes', ...packetCounters].map((name) => ({ name, schema: 'long' })),
    { name: 'signalDbm', schema: 'double' },
  ],
}

/** What is not a number with a fraction; DTDL has to be told, and the table of docs/telemetry.md has no types. */
const schemas: Readonly<Partial<Record<keyof typeof telemetryFields, Schema>>> = {
  deviceId: 'string',
  timestamp: 'dateTime',
  authType: enumOf('x509', 'sas'),
  memoryTotalBytes: 'long',
  memoryAvailableBytes: 'long',
  swapTotalBytes: 'long',
  swapUsedBytes: 'long',
  diskTotalBytes: 'long',
  diskFreeBytes: 'long',
  diskFreeInodes: 'long',
  diskReadOnly: 'boolean',
  storageWearPercent: mapOf('memory', 'percent', 'double'),
  storagePreEndOfLife: mapOf('memory', 'reserve', 'integer'),
  bootId: 'string',
  restartCause: enumOf('overheat', 'underVoltage', 'overVoltage', 'fanFault', 'external', 'watchdog', 'powerOn'),
  crashRecords: 'integer',
  underVoltage: 'boolean',
  network: mapOf('interface', 'counters', networkInterface),
  temperatures: mapOf('sensor', 'celsius', 'double'),
  sensors: mapOf('sensor', 'value', 'double'),
}

/** docs/model: what people wrote, and the telemetry of the device from the table of its fields. */
export function modelPage(page = '[]'): string {
  const [device, ...others] = JSON.parse(page) as readonly Interface[]
  if (device === undefined) return page
  const at = device.contents.findIndex((content) => content['@type'] === 'Telemetry')
  const rest = device.contents.filter((content) => content['@type'] !== 'Telemetry')
  const contents = rest.toSpliced(at < 0 ? rest.length : at, 0, ...telemetry())
  return `${JSON.stringify([{ ...device, contents }, ...others], undefined, 2)}\n`
}

function telemetry(): readonly Content[] {
  return Object.entries(telemetryFields).map(([name, { unit, meaning }]) => ({
    '@type': 'Telemetry',
    name,
    schema: schemas[name as keyof typeof telemetryFields] ?? 'double',
    description: describe(meaning, unit),
  }))
}

/** A sentence without Markdown, with the unit where there is one. */
function describe(meaning: string, unit: string): string {
  const sentence = `${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}`.replaceAll('`', '')
  return /^(text|true or false|object|ISO)/.test(unit) ? `${sentence}.` : `${sentence} (${unit}).`
}

function enumOf(...values: readonly string[]): Schema {
  const enumValues = values.map((value) => ({ name: value, enumValue: value }))
  return { '@type': 'Enum', valueSchema: 'string', enumValues }
}

function mapOf(key: string, value: string, schema: Schema): Schema {
  const mapKey = { name: key, schema: 'string' }
  return { '@type': 'Map', mapKey, mapValue: { name: value, schema } }
}
