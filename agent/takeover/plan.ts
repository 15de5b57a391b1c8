import { parseConnectionString, parseKey } from '../credential/sas-text.ts'
import { pairUp } from '../credential/x509-credential.ts'
import { asFailure, Failure } from '../failure.ts'
import type { CertificateFacts } from '../pki/certificate.ts'
import type { OldClient } from './find.ts'
import type { OldValue } from './names.ts'

export type Lane = 'x509' | 'sas'

/** The pair of the old client as it lies there; a text is missing where the file is. */
export interface OldPair {
  readonly certificateFile: string
  readonly keyFile: string
  readonly certificatePem: string | undefined
  readonly keyPem: string | undefined
}

/** A file of ours with what the old client had. `content` may be a secret: it is written and never shown. */
export interface Copy {
  readonly path: string
  readonly content: string
  readonly where: string
}

export interface ImportProblem {
  readonly problem: string
  readonly remedy: string
}

/** What taking over would come to. With a problem it must not be begun. */
export interface Plan {
  readonly client: OldClient
  /** What the old program speaks, and ours goes on with. */
  readonly lane: Lane
  readonly certificate: CertificateFacts | undefined
  readonly configText: string
  readonly copies: readonly Copy[]
  /** Worth knowing, no reason to stop. */
  readonly notes: readonly string[]
  readonly problems: readonly ImportProblem[]
}

export const CONFIG_FILE = '/etc/iot-device-agent/config.d/50-imported.toml'
export const SECRETS_FOLDER = '/etc/iot-device-agent/secrets'

const COPY = {
  certificate: `${SECRETS_FOLDER}/imported.pem`,
  key: `${SECRETS_FOLDER}/imported.key`,
  deviceKey: `${SECRETS_FOLDER}/imported-sas.key`,
  connectionString: `${SECRETS_FOLDER}/imported-connection-string`,
} as const

/** Names that need no `idRule`. */
const PORTABLE = /^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/

interface Half {
  readonly copies: readonly Copy[]
  readonly lines: readonly string[]
  readonly deviceId?: string
  readonly certificate?: CertificateFacts
  readonly notes?: readonly string[]
  readonly problems: readonly ImportProblem[]
}

/** @param nowMs wall time, against which the certificate is held */
export function planImport(client: OldClient, pair: OldPair | undefined, nowMs: number): Plan {
  const x509 = pair && planPair(pair, client, nowMs)
  const sas = planSas(client)
  const lane = client.lane !== undefined && (client.lane === 'x509' ? x509 : sas) ? client.lane : x509 ? 'x509' : 'sas'
  const [chosen, other] = lane === 'x509' ? [x509, sas] : [sas, x509]
  // The way that is not in use comes along where it is sound, and never stops the one that is.
  const halves = [chosen, other].filter((half) => half !== undefined && (half === chosen || half.problems.length === 0))
  const sound = halves as readonly Half[]
  const nothing = { problem: 'Neither a certificate pair nor a key of this device was found.', remedy: NO_CREDENTIAL }
  return {
    ...{ client, lane },
    certificate: x509?.certificate,
    configText: configText(client, lane, sas?.deviceId, sound),
    copies: sound.flatMap(({ copies }) => copies),
    notes: [
      ...sound.flatMap(({ notes = [] }) => notes),
      ...(other !== undefined && other.problems.length > 0
        ? [`not taken along: ${other.problems.map(({ problem }) => problem).join(' ')}`]
        : []),
    ],
    problems: [
      ...(chosen === undefined ? [nothing] : chosen.problems),
      ...identityProblems(client, sas?.deviceId),
      ...[client.values.idScope, client.values.registrationId, client.values.dpsHost].flatMap(specifierProblem),
    ],
  }
}

const NO_CREDENTIAL =
  'Set CERT_PATH and KEY_PATH, or a device connection string, in the unit of the old client as it uses them.'

function planPair(pair: OldPair, { values }: OldClient, nowMs: number): Half {
  const { certificateFile, keyFile, certificatePem, keyPem } = pair
  const missing = [certificatePem === undefined && certificateFile, keyPem === undefined && keyFile].filter(Boolean)
  if (certificatePem === undefined || keyPem === undefined)
    return faulty(
      `There is no readable file ${missing.join(', ')}.`,
      'Put the file there, or correct the path in the unit.',
    )
  const pairing = judged(() => pairUp(keyPem, keyFile, certificatePem))
  if (pairing instanceof Failure) return faulty(pairing.message, pairing.advice)
  if (!pairing.ok) return faulty(`${certificateFile}: ${pairing.why}.`, `Put the certificate of ${keyFile} there.`)
  const { facts } = pairing
  const id = values.registrationId?.value
  return {
    certificate: facts,
    copies: [
      { path: COPY.certificate, content: certificatePem, where: certificateFile },
      { path: COPY.key, content: keyPem, where: keyFile },
    ],
    lines: ['[auth.x509]', `certificateFile = ${quote(COPY.certificate)}`, `keyFile = ${quote(COPY.key)}`],
    problems: [
      ...(id === undefined || facts.commonName === id
        ? []
        : [wrong(`The certificate is for "${facts.commonName}", and the device is "${id}".`, WRONG_NAME)]),
      ...(Date.parse(facts.notAfter) < nowMs ? [wrong(`The certificate expired on ${facts.notAfter}.`, EXPIRED)] : []),
    ],
  }
}

const WRONG_NAME = 'Put the certificate whose CN is the registration ID there, or correct DEVICE_ID.'
const EXPIRED = 'Check the clock (timedatectl); if it is right, lay down a new certificate first.'

/** A connection string goes before a key, as it names its hub; the old samples ask for it first as well. */
function planSas({ values }: OldClient): Half | undefined {
  const { connectionString, deviceKey } = values
  if (connectionString !== undefined) return planConnectionString(connectionString)
  return deviceKey === undefined ? undefined : planDeviceKey(deviceKey)
}

function planConnectionString({ value, where }: OldValue): Half {
  const parsed = judged(() => parseConnectionString(value, where))
  if (parsed instanceof Failure) return faulty(`${parsed.message}.`, parsed.advice)
  return {
    deviceId: parsed.deviceId,
    copies: [{ path: COPY.connectionString, content: `${value.trim()}\n`, where }],
    lines: ['[auth.sas]', `connectionStringFile = ${quote(COPY.connectionString)}`],
    problems: [],
  }
}

/** Only a key of 32 bytes can have been derived from that of a group; the old client registers with it as it is. */
function planDeviceKey({ value, where }: OldValue): Half {
  const derived = !(judged(() => parseKey(value, 'group', where)) instanceof Failure)
  const individual = judged(() => parseKey(value, 'individual', where))
  if (individual instanceof Failure) return faulty(`${individual.message}.`, individual.advice)
  return {
    copies: [{ path: COPY.deviceKey, content: `${value.trim()}\n`, where }],
    lines: ['[auth.sas]', `keyFile = ${quote(COPY.deviceKey)}`, ...(derived ? [] : ['enrollment = "individual"'])],
    notes: derived ? [] : [`${where} is taken for the key of an individual enrollment, by its length`],
    problems: [],
  }
}

function identityProblems({ values }: OldClient, deviceId: string | undefined): readonly ImportProblem[] {
  const id = values.registrationId
  if (id === undefined || deviceId === undefined || id.value === deviceId) return []
  const fact = `The connection string is for "${deviceId}", and ${id.where} says "${id.value}".`
  return [wrong(fact, 'Take the one that is not meant out of the unit of the old client.')]
}

/** systemd fills them in from things that are not read here. */
function specifierProblem(found: OldValue | undefined): readonly ImportProblem[] {
  if (found === undefined || !/%[A-Za-z]/.test(found.value)) return []
  return [wrong(`${found.where} has the specifier ${found.value}, which only systemd can fill in.`, LITERALLY)]
}

const LITERALLY = 'Write the value itself into the unit of the old client, or into /etc/iot-device-agent/config.toml.'

/** Only what the old client was told: what it left open has our default, or what config.toml says. */
function configText(client: OldClient, lane: Lane, deviceId: string | undefined, halves: readonly Half[]): string {
  const { registrationId, idScope, dpsHost, intervalSeconds } = client.values
  const id = registrationId?.value ?? deviceId
  const interval = /^\s*\d{1,9}\s*$/.test(intervalSeconds?.value ?? '') ? Number(intervalSeconds?.value) : undefined
  const tables: readonly (readonly string[])[] = [
    id === undefined
      ? []
      : ['[device]', `registrationId = ${quote(id)}`, ...(PORTABLE.test(id) ? [] : ['idRule = "azure"'])],
    idScope === undefined && dpsHost === undefined
      ? []
      : [
          '[dps]',
          ...(dpsHost === undefined ? [] : [`host = ${quote(dpsHost.value)}`]),
          ...(idScope === undefined ? [] : [`idScope = ${quote(idScope.value)}`]),
        ],
    ['[auth]', `mode = ${quote(lane)}`],
    ...halves.map(({ lines }) => lines),
    interval === undefined ? [] : ['[telemetry]', `intervalSeconds = ${interval}`],
  ]
  const text = tables.filter((lines) => lines.length > 0).map((lines) => `${lines.join('\n')}\n`)
  return [`# Taken over from ${client.unitFile} by: iot-device-agent import\n`, ...text].join('\n')
}

/** A basic string of TOML. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\u007F', String.raw`\u007F`)
}

function judged<T>(judge: () => T): T | Failure {
  try {
    return judge()
  } catch (error) {
    return asFailure(error)
  }
}

function faulty(problem: string, remedy: string): Half {
  return { copies: [], lines: [], problems: [wrong(problem, remedy)] }
}

function wrong(problem: string, remedy: string): ImportProblem {
  return { problem, remedy }
}
