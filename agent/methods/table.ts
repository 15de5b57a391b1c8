import { boolean, description, exactOptional, maxLength, object, picklist, pipe, string } from 'valibot'
import type { GenericSchema, InferOutput } from 'valibot'
import type { LogLevel } from '../system/log.ts'
import type { Limit } from './limit.ts'

/** One direct method: what callers read in docs/twin.md, and what the agent holds them to. */
export interface MethodEntry {
  /** As one sentence. */
  readonly does: string
  /** Every field that may come; each says its own rule, as a noun. */
  readonly payload: GenericSchema & { readonly entries: Readonly<Record<string, GenericSchema>> }
  /** A payload that is taken. */
  readonly example: Readonly<Record<string, string | boolean>>
  /** The body of status 200. */
  readonly answers: string
  /** It is counted apart, and written into the audit trail. */
  readonly changes: boolean
}

/** The level below which nothing is logged. Silence is not among them: a device must always say what broke. */
const levels = ['debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[]

const rehearse = exactOptional(pipe(boolean(), description('true or false')))

const word = <const Words extends readonly string[]>(words: Words) =>
  pipe(picklist(words), description(`one of ${words.map((each) => JSON.stringify(each)).join(', ')}`))

/** The hub takes 128 KiB of payload, JSON and all. */
const chain = pipe(string(), maxLength(100_000), description('certificates in PEM, leaf and intermediates'))

const STEPS = '`{accepted, steps}`: what will be done, in order; of a rehearsal, what would be'

/** Every direct method that the agent has, in the order in which people read them. */
export const methodTable = {
  ping: {
    does: 'Says that the agent is there.',
    payload: object({}),
    example: {},
    answers: '`{version, at}`: version of the agent, and its clock',
    changes: false,
  },
  getStatus: {
    does: 'What `iot-device-agent status --json` shows on the device.',
    payload: object({}),
    example: {},
    answers: 'the status',
    changes: false,
  },
  setAuthMode: {
    does: 'Moves the device to the other way to attest itself; it proves itself with it, or is back where it was.',
    payload: object({ mode: word(['x509', 'sas']), rehearse }),
    example: { mode: 'x509', rehearse: true },
    answers: STEPS,
    changes: true,
  },
  renewCertificate: {
    does: 'Makes a new key and asks for a certificate for it, however good the present one is.',
    payload: object({ rehearse }),
    example: {},
    answers: STEPS,
    changes: true,
  },
  reprovision: {
    does: 'Registers with DPS again, with the credential that is in use.',
    payload: object({ rehearse }),
    example: {},
    answers: STEPS,
    changes: true,
  },
  setLogLevel: {
    does: 'Logs from this level on, until the next start or the next change of the desired properties.',
    payload: object({ level: word(levels) }),
    example: { level: 'debug' },
    answers: '`{level}`',
    changes: true,
  },
  getCsr: {
    does: 'The certificate request that waits for a certificate, as `iot-device-agent csr` prints it.',
    payload: object({}),
    example: {},
    answers: '`{csr, keyKind, requestedAt}`: PKCS#10 in PEM, `ec-p256` and the like, ISO 8601',
    changes: false,
  },
  installCertificate: {
    does: 'Hands in the certificate for that request. It is checked as any other is, and moves the device once it has proved itself.',
    payload: object({ chain }),
    example: { chain: '-----BEGIN CERTIFICATE-----…' },
    answers: '`{thumbprintSha256, notBefore, notAfter}`: the chain is good and will be taken',
    changes: true,
  },
} as const satisfies Readonly<Record<string, MethodEntry>>

export type MethodName = keyof typeof methodTable

export type PayloadOf<Name extends MethodName> = InferOutput<(typeof methodTable)[Name]['payload']>

export const methodNames = Object.keys(methodTable) as readonly MethodName[]

/** How often methods that change something may be called. */
export const changeLimits: readonly Limit[] = [
  { calls: 4, inMs: 60_000 },
  { calls: 20, inMs: 3_600_000 },
]

/** How often all others may be called, with those that do not exist or are not allowed. */
export const otherLimits: readonly Limit[] = [{ calls: 60, inMs: 60_000 }]

/** Every status that a caller can meet. Whatever is not 200 has the body `{code, message, advice}`. */
export const methodStatuses = {
  200: 'done, or accepted: how a move goes on is told by the reported properties',
  400: 'the payload is not what this table says (METHOD_INVALID)',
  403: '`methods.allowed` of the device does not name the method (METHOD_NOT_ALLOWED)',
  404: 'there is no such method (METHOD_UNKNOWN)',
  409: 'the device does not do this, or not now; `code` and `message` say why',
  429: 'too often, or more than four calls at a time (METHOD_TOO_OFTEN)',
  500: 'the agent failed; its log says how',
  504: 'not done within 25 s; it may still take effect (METHOD_LATE)',
} as const

export type MethodStatus = keyof typeof methodStatuses

export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methodTable, name)
}
