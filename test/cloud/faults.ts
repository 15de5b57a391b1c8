/**
 * The switches of the stand-in: every behaviour that Azure leaves open, or that a test wants to go wrong.
 * One row each: name, what it does, its choices, and the default, which is what Azure does (or is assumed to do).
 */
import { certificateSwitches } from './adr/switches.ts'

interface Choice {
  readonly means: string
  readonly oneOf: readonly string[]
  readonly default: string
}

interface Quantity {
  readonly means: string
  readonly unit: string
  readonly default: number
}

export type Row = Choice | Quantity

export const faultTable = {
  unknownTopicFilter: {
    means: 'answer to a topic filter that does not exist',
    oneOf: ['suback', 'close'],
    default: 'suback',
  },
  connectRefusal: {
    means: 'CONNACK return code of every connection; 0 decides by the rules',
    unit: 'return code',
    default: 0,
  },
  connectSilence: { means: 'CONNECT is never answered', oneOf: ['off', 'dps', 'hub'], default: 'off' },
  closeAfterHandshake: {
    means: 'closes after TLS without an answer to CONNECT',
    oneOf: ['off', 'dps', 'hub'],
    default: 'off',
  },
  connectsPerSecond: {
    means: 'more connects than this are refused with return code 3; 0 is no limit',
    unit: 'connects/s',
    default: 0,
  },

  clientIdMismatch: { means: 'DPS user name and client ID differ', oneOf: ['connack', 'response'], default: 'connack' },
  dpsCredentialRefusal: {
    means: 'where DPS says that attestation failed',
    oneOf: ['connack', 'response'],
    default: 'response',
  },
  disabledEnrollment: {
    means: 'how a disabled enrollment reads',
    oneOf: ['response401', 'status'],
    default: 'response401',
  },
  crossGroup: {
    means: 'registration of a known ID through another enrollment group',
    oneOf: ['allow', 'refuse'],
    default: 'allow',
  },
  credentialCacheMinutes: {
    means:
      'DPS caches the credential used; another valid one gets 401002 meanwhile. 0 is no cache; about 30 has been seen',
    unit: 'min',
    default: 0,
  },
  forgetAfterAssignment: {
    means: 'DPS answers assigned, but the rewrite of the hub identity is lost',
    oneOf: ['off', 'once', 'always'],
    default: 'off',
  },
  answerLost: {
    means: 'DPS assigns and rewrites the hub identity, but the connection is cut before the 200',
    oneOf: ['off', 'once', 'always'],
    default: 'off',
  },
  retryAfterSeconds: { means: 'retry-after of a 202', unit: 's', default: 3 },
  pollsBeforeAssigned: { means: 'polls answered 202 before the 200', unit: 'polls', default: 1 },
  registrationsPerMinute: { means: 'more registrations than this get 429; 0 is no limit', unit: '1/min', default: 0 },
  pollsPerTenSeconds: {
    means: 'more polls of one device than this get 429; 0 is no limit',
    unit: '1/10 s',
    default: 5,
  },
  dpsAnswer: {
    means: 'every DPS answer is replaced',
    oneOf: [
      'off',
      '400',
      '401',
      '404',
      '409',
      '429',
      '500',
      '503',
      'silence',
      'close',
      'malformed',
      'empty',
      'nonAscii',
    ],
    default: 'off',
  },
  dpsOutcome: {
    means: 'how an otherwise good registration ends',
    oneOf: ['assigned', 'failed', 'disabled', 'unassigned', 'mqttV5'],
    default: 'assigned',
  },

  sasGraceSeconds: { means: 'a session outlives its token by this', unit: 's', default: 0 },
  identityChange: {
    means: 'when a live session feels that its identity changed',
    oneOf: ['cut', 'expiry', 'nextConnect'],
    default: 'cut',
  },
  certificateExpiry: {
    means: 'whether a live session is cut at notAfter',
    oneOf: ['handshakeOnly', 'cut'],
    default: 'handshakeOnly',
  },
  disableDeviceSAS: { means: 'properties.disableDeviceSAS of every hub', oneOf: ['false', 'true'], default: 'false' },
  disableLocalAuth: { means: 'properties.disableLocalAuth of every hub', oneOf: ['false', 'true'], default: 'false' },
  pubackDelayMs: { means: 'traffic shaping of D2C', unit: 'ms', default: 0 },
  throttleAfterMessages: {
    means: 'closes a session after so many D2C messages (429 class); 0 is never',
    unit: 'messages',
    default: 0,
  },
  d2cPerSecond: {
    means: 'D2C messages that a hub takes in a second; more wait for their PUBACK in one queue. 0 is no limit',
    unit: 'messages/s',
    default: 0,
  },
  d2cQueueSeconds: {
    means: 'a message that would wait longer in that queue closes its connection (429 class)',
    unit: 's',
    default: 10,
  },
  dailyMessages: {
    means: 'D2C messages, in parts of 4 KB, that a hub takes in a day (UTC); more close the connection. 0 is no limit',
    unit: 'messages/day',
    default: 0,
  },
  poisonMessages: {
    means: 'a message with the application property `poison` closes the connection whenever it comes',
    oneOf: ['off', 'close'],
    default: 'off',
  },
  propertyNames: {
    means: 'which application properties a message may have; over MQTT Azure restricts none, over HTTPS to `token`',
    oneOf: ['any', 'token'],
    default: 'any',
  },
  dropSessions: { means: 'the hub forgets kept sessions', oneOf: ['false', 'true'], default: 'false' },
  desiredPush: {
    means: 'what becomes of the push of a desired change',
    oneOf: ['sent', 'lost', 'malformed'],
    default: 'sent',
  },
  twinAnswer: {
    means: 'every twin answer is replaced',
    oneOf: ['off', '400', '404empty', '429', '500', 'silence', 'malformed'],
    default: 'off',
  },
  ...certificateSwitches,
} as const satisfies Record<string, Row>

export type FaultName = keyof typeof faultTable

type ValueOf<R> = R extends { oneOf: readonly (infer C)[] } ? C : number

export type FaultValues = { [N in FaultName]: ValueOf<(typeof faultTable)[N]> }

/** The faults that can be told to strike once. */
type OnceFault = { [N in FaultName]: 'once' extends FaultValues[N] ? N : never }[FaultName]

/** The switches of one running stand-in. */
export interface Faults {
  get<N extends FaultName>(name: N): FaultValues[N]
  set<N extends FaultName>(name: N, value: FaultValues[N]): void
  /** From text, as the control door and the command line give it. An unknown name or value comes back as a sentence. */
  setText(name: string, value: string): string | undefined
  /** Whether a fault of `once` and `always` strikes now; one of `once` is off from here on. */
  strikes(name: OnceFault): boolean
  reset(): void
  all(): FaultValues
}

export function createFaults(): Faults {
  let values = defaults()
  return {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value
    },
    setText(name, value) {
      if (!Object.hasOwn(faultTable, name))
        return `no fault is named ${name}; there are ${Object.keys(faultTable).join(', ')}`
      const row: Row = faultTable[name as FaultName]
      if ('oneOf' in row) {
        if (!row.oneOf.includes(value)) return `${name} is one of ${row.oneOf.join(', ')}, not ${value}`
        Object.assign(values, { [name]: value })
        return undefined
      }
      const quantity = Number(value)
      if (value.trim() === '' || !Number.isFinite(quantity) || quantity < 0)
        return `${name} is a number of ${row.unit}, not ${value}`
      Object.assign(values, { [name]: quantity })
      return undefined
    },
    strikes(name) {
      const value = values[name]
      if (value === 'once') values[name] = 'off'
      return value !== 'off'
    },
    reset() {
      values = defaults()
    },
    all: () => ({ ...values }),
  }
}

function defaults(): FaultValues {
  return Object.fromEntries(Object.entries(faultTable).map(([name, row]) => [name, row.default])) as FaultValues
}
