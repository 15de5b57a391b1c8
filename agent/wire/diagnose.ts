import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'

/** How far a connection came: each phase begins when the one before has succeeded. */
export type Phase = 'resolving' | 'connecting' | 'securing' | 'greeting' | 'open'

/** What is known about a connection that ended. */
export interface Evidence {
  readonly endpoint: 'dps' | 'hub'
  readonly host: string
  readonly port?: number
  readonly phase: Phase
  /** The first error of socket, TLS or MQTT as it came, before the SDK could rename it. */
  readonly error?: unknown
  /** The end came from a deadline of ours or from an unanswered ping, not from the other side. */
  readonly silent?: boolean
}

/** Codes of `getaddrinfo` and of the resolver. */
const NO_NAME = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_NONAME', 'EAI_FAIL', 'ENODATA', 'ESERVFAIL'])
const NO_ROUTE = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EHOSTDOWN', 'EADDRNOTAVAIL', 'ENONET'])
const TOO_LATE = new Set(['ETIMEDOUT', 'ERR_SOCKET_CONNECTION_TIMEOUT'])
const CUT = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])

/** Verification results of OpenSSL about the certificate of the server, as Node spells them. */
const SERVER_UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_CHAIN_TOO_LONG',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
])
const SERVER_DATES = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'])
const SERVER_NAME = new Set(['ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH'])

/**
 * TLS alerts by which a server says that it will not have our certificate: no_certificate, bad_certificate,
 * unsupported_certificate, certificate_revoked, certificate_expired, certificate_unknown, unknown_ca, access_denied,
 * decrypt_error, certificate_required. IoT Hub has been seen to answer an expired one with unknown_ca.
 * Source: RFC 8446 section 6.2, RFC 5246 section 7.2.
 */
const CREDENTIAL_ALERTS = new Set([41, 42, 43, 44, 45, 46, 48, 49, 51, 116])

/** What each endpoint calls what both can do. */
const names = {
  dps: {
    protocol: 'DPS_PROTOCOL',
    busy: 'DPS_BUSY',
    refused: 'DPS_REFUSED_CONNECTION',
    silent: 'DPS_NO_ANSWER',
    closedEarly: 'DPS_CLOSED',
    closed: 'DPS_CLOSED',
    garbled: 'DPS_BAD_ANSWER',
  },
  hub: {
    protocol: 'HUB_PROTOCOL',
    busy: 'HUB_BUSY',
    refused: 'HUB_REFUSED_CREDENTIAL',
    silent: 'HUB_NO_ANSWER',
    closedEarly: 'HUB_CLOSED_EARLY',
    closed: 'HUB_CLOSED',
    garbled: 'HUB_BAD_ANSWER',
  },
} as const satisfies Record<Evidence['endpoint'], Record<string, FailureCode>>

/**
 * Names why a connection ended, from the raw error, the return code and what preceded. The error classes of the SDK
 * are never asked: on a first connection they call a pulled cable "not authorized".
 */
export function diagnose(evidence: Evidence): FailureCode {
  const { phase, error } = evidence
  const its = names[evidence.endpoint]
  const code = codeOf(error)
  if (typeof code === 'number') return ofReturnCode(code, its)
  if (CREDENTIAL_ALERTS.has(alertOf(error))) return 'TLS_CREDENTIAL_REFUSED'
  if (code !== undefined) return ofErrorCode(code, phase, its)
  if (error !== undefined) return phase === 'greeting' || phase === 'open' ? its.garbled : 'UNEXPECTED'
  return evidence.silent === true ? ofSilence(phase, its) : ofClose(phase, its)
}

/** The diagnosis as a `Failure`, with the facts that an operator needs and no secret. */
export function failureOf(evidence: Evidence): Failure {
  const raw = codeOf(evidence.error)
  const code = diagnose(evidence)
  const detail = evidence.error instanceof Error ? wordsOf(evidence.error, raw) : wordOf(evidence)
  return new Failure(code, `${evidence.host}: ${detail || String(raw)}`, {
    ...(evidence.error === undefined ? {} : { cause: evidence.error }),
    context: {
      host: evidence.host,
      ...(evidence.port === undefined ? {} : { port: evidence.port }),
      phase: evidence.phase,
      ...(raw === undefined ? {} : { raw }),
    },
  })
}

/**
 * The message of an error, without what misleads: that of a CONNACK says "connection refused", as a closed port does, and
 * Node adds advice for programmers behind a semicolon.
 */
function wordsOf(error: Error, raw: number | string | undefined): string {
  if (typeof raw === 'number') return `answered CONNECT with return code ${raw}`
  return error.message.split(';')[0] ?? error.message
}

/** A CONNACK return code (number), a code of Node or OpenSSL (text), or undefined. */
function codeOf(error: unknown): number | string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'number' || typeof error.code === 'string' ? error.code : undefined
}

/**
 * The number of the TLS alert that the other side sent. OpenSSL says it only in its text, which Node passes on under
 * codes as different as EPROTO (TLS 1.2, while writing) and ERR_SSL_… (TLS 1.3, while reading).
 */
function alertOf(error: unknown): number {
  const match = error instanceof Error ? /SSL alert number (\d+)/.exec(error.message) : null
  return match === null ? Number.NaN : Number(match[1])
}

type Names = (typeof names)[Evidence['endpoint']]

/** MQTT 3.1.1 section 3.2.2.3. */
function ofReturnCode(code: number, its: Names): FailureCode {
  if (code === 1 || code === 2) return its.protocol
  if (code === 3) return its.busy
  return code === 4 || code === 5 ? its.refused : its.garbled
}

function ofErrorCode(code: string, phase: Phase, its: Names): FailureCode {
  if (NO_NAME.has(code)) return 'NETWORK_DNS'
  if (code === 'ECONNREFUSED') return 'NETWORK_REFUSED'
  if (NO_ROUTE.has(code)) return 'NETWORK_UNREACHABLE'
  if (TOO_LATE.has(code)) return 'NETWORK_TIMEOUT'
  if (SERVER_UNTRUSTED.has(code)) return 'TLS_SERVER_UNTRUSTED'
  if (SERVER_DATES.has(code)) return 'TLS_SERVER_DATES'
  if (SERVER_NAME.has(code)) return 'TLS_SERVER_NAME'
  if (code.startsWith('ERR_OSSL_')) return 'TLS_LOCAL_CREDENTIAL'
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return 'TLS_FAILED'
  // A server that closes with our CONNECT unread resets the connection: the same as a close.
  if (CUT.has(code)) return phase === 'open' ? 'NETWORK_RESET' : ofClose(phase, its)
  // Node's own codes are about its API, and so about this program; the stream's and TLS's are about the connection.
  if (code.startsWith('ERR_') && !/^ERR_(STREAM|SOCKET|TLS)_/.test(code)) return 'UNEXPECTED'
  return unnamed[phase]
}

/**
 * What nobody has named yet is a fault of the phase in which it came: a firewall on the device (EPERM, EACCES), too few
 * descriptors or buffers (EMFILE, ENOBUFS), the resolver (EAI_MEMORY), a verification that OpenSSL calls UNSPECIFIED.
 */
const unnamed: Record<Phase, FailureCode> = {
  resolving: 'NETWORK_DNS',
  connecting: 'NETWORK_UNREACHABLE',
  securing: 'TLS_FAILED',
  greeting: 'NETWORK_RESET',
  open: 'NETWORK_RESET',
}

function ofClose(phase: Phase, its: Names): FailureCode {
  const table: Record<Phase, FailureCode> = {
    resolving: 'NETWORK_RESET',
    connecting: 'NETWORK_RESET',
    securing: 'TLS_FAILED',
    greeting: its.closedEarly,
    open: its.closed,
  }
  return table[phase]
}

function ofSilence(phase: Phase, its: Names): FailureCode {
  const table: Record<Phase, FailureCode> = {
    resolving: 'NETWORK_DNS',
    connecting: 'NETWORK_TIMEOUT',
    securing: 'NETWORK_TIMEOUT',
    greeting: its.silent,
    open: its.silent,
  }
  return table[phase]
}

function wordOf(evidence: Evidence): string {
  const event = evidence.silent === true ? 'no answer' : 'closed by the other side'
  return `${event} ${place[evidence.phase]}`
}

const place: Record<Phase, string> = {
  resolving: 'while resolving the name',
  connecting: 'while connecting',
  securing: 'during the TLS handshake',
  greeting: 'after the TLS handshake, before CONNACK',
  open: 'after CONNACK',
}
