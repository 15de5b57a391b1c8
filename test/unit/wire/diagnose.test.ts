import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailureCode } from '../../../agent/failure.ts'
import { diagnose, failureOf } from '../../../agent/wire/diagnose.ts'
import type { Evidence, Phase } from '../../../agent/wire/diagnose.ts'

const raw = (code: string | number, message = 'raw') => Object.assign(new Error(message), { code })

const alert = (name: string, number: number) =>
  `write EPROTO 40:error:0A000415:SSL routines:ssl3_read_bytes:ssl/tls alert ${name}:rec_layer_s3.c:918:SSL alert number ${number}`

type Row = readonly [phase: Phase, error: unknown, dps: FailureCode, hub: FailureCode]

const rows: readonly Row[] = [
  ['resolving', raw('ENOTFOUND'), 'NETWORK_DNS', 'NETWORK_DNS'],
  ['resolving', raw('EAI_AGAIN'), 'NETWORK_DNS', 'NETWORK_DNS'],
  ['connecting', raw('ECONNREFUSED'), 'NETWORK_REFUSED', 'NETWORK_REFUSED'],
  ['connecting', raw('EHOSTUNREACH'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['connecting', raw('ENETUNREACH'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['connecting', raw('ETIMEDOUT'), 'NETWORK_TIMEOUT', 'NETWORK_TIMEOUT'],
  ['connecting', raw('ECONNRESET'), 'NETWORK_RESET', 'NETWORK_RESET'],
  ['securing', raw('ECONNRESET'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('EPROTO'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('ERR_SSL_WRONG_VERSION_NUMBER'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('DEPTH_ZERO_SELF_SIGNED_CERT'), 'TLS_SERVER_UNTRUSTED', 'TLS_SERVER_UNTRUSTED'],
  ['securing', raw('SELF_SIGNED_CERT_IN_CHAIN'), 'TLS_SERVER_UNTRUSTED', 'TLS_SERVER_UNTRUSTED'],
  ['securing', raw('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'TLS_SERVER_UNTRUSTED', 'TLS_SERVER_UNTRUSTED'],
  ['securing', raw('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), 'TLS_SERVER_UNTRUSTED', 'TLS_SERVER_UNTRUSTED'],
  ['securing', raw('CERT_HAS_EXPIRED'), 'TLS_SERVER_DATES', 'TLS_SERVER_DATES'],
  ['securing', raw('CERT_NOT_YET_VALID'), 'TLS_SERVER_DATES', 'TLS_SERVER_DATES'],
  ['securing', raw('ERR_TLS_CERT_ALTNAME_INVALID'), 'TLS_SERVER_NAME', 'TLS_SERVER_NAME'],
  // As Node 24 gives them: TLS 1.2 while writing, TLS 1.3 while reading.
  ['securing', raw('EPROTO', alert('certificate expired', 45)), 'TLS_CREDENTIAL_REFUSED', 'TLS_CREDENTIAL_REFUSED'],
  ['securing', raw('EPROTO', alert('unknown ca', 48)), 'TLS_CREDENTIAL_REFUSED', 'TLS_CREDENTIAL_REFUSED'],
  ['securing', raw('EPROTO', alert('handshake failure', 40)), 'TLS_FAILED', 'TLS_FAILED'],
  [
    'greeting',
    raw('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', alert('certificate required', 116)),
    'TLS_CREDENTIAL_REFUSED',
    'TLS_CREDENTIAL_REFUSED',
  ],
  ['resolving', raw('ERR_OSSL_X509_KEY_VALUES_MISMATCH'), 'TLS_LOCAL_CREDENTIAL', 'TLS_LOCAL_CREDENTIAL'],
  // MQTT 3.1.1 section 3.2.2.3
  ['greeting', raw(1), 'DPS_PROTOCOL', 'HUB_PROTOCOL'],
  ['greeting', raw(2), 'DPS_PROTOCOL', 'HUB_PROTOCOL'],
  ['greeting', raw(3), 'DPS_BUSY', 'HUB_BUSY'],
  ['greeting', raw(4), 'DPS_REFUSED_CONNECTION', 'HUB_REFUSED_CREDENTIAL'],
  ['greeting', raw(5), 'DPS_REFUSED_CONNECTION', 'HUB_REFUSED_CREDENTIAL'],
  ['greeting', raw(99), 'DPS_BAD_ANSWER', 'HUB_BAD_ANSWER'],
  ['greeting', new Error('Invalid header flag bits'), 'DPS_BAD_ANSWER', 'HUB_BAD_ANSWER'],
  ['greeting', raw('ECONNRESET'), 'DPS_CLOSED', 'HUB_CLOSED_EARLY'],
  ['greeting', undefined, 'DPS_CLOSED', 'HUB_CLOSED_EARLY'],
  ['open', raw('ECONNRESET'), 'NETWORK_RESET', 'NETWORK_RESET'],
  ['open', raw('EPIPE'), 'NETWORK_RESET', 'NETWORK_RESET'],
  ['open', undefined, 'DPS_CLOSED', 'HUB_CLOSED'],
  ['resolving', new Error('no code'), 'UNEXPECTED', 'UNEXPECTED'],
  ['resolving', raw('ERR_INVALID_ARG_TYPE'), 'UNEXPECTED', 'UNEXPECTED'],
  // Nobody can name them all: what is left is a fault of the network, or of the handshake.
  ['resolving', raw('EAI_MEMORY'), 'NETWORK_DNS', 'NETWORK_DNS'],
  ['resolving', raw('EAI_SYSTEM'), 'NETWORK_DNS', 'NETWORK_DNS'],
  ['connecting', raw('EPERM'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['connecting', raw('EACCES'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['connecting', raw('ENOBUFS'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['connecting', raw('EMFILE'), 'NETWORK_UNREACHABLE', 'NETWORK_UNREACHABLE'],
  ['securing', raw('UNSPECIFIED'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('OUT_OF_MEM'), 'TLS_FAILED', 'TLS_FAILED'],
  ['securing', raw('ERR_TLS_HANDSHAKE_TIMEOUT'), 'TLS_FAILED', 'TLS_FAILED'],
  ['open', raw('ENETRESET'), 'NETWORK_RESET', 'NETWORK_RESET'],
  ['open', raw('ERR_STREAM_DESTROYED'), 'NETWORK_RESET', 'NETWORK_RESET'],
]

for (const [phase, error, dps, hub] of rows) {
  const name = error instanceof Error ? String('code' in error ? error.code : error.message) : 'a bare close'
  test(`${name} while ${phase} is ${dps} of DPS and ${hub} of a hub`, () => {
    const evidence = { phase, host: 'h', ...(error === undefined ? {} : { error }) }
    assert.equal(diagnose({ ...evidence, endpoint: 'dps' }), dps)
    assert.equal(diagnose({ ...evidence, endpoint: 'hub' }), hub)
  })
}

const at = (phase: Phase, endpoint: Evidence['endpoint']) => diagnose({ phase, endpoint, host: 'h', silent: true })

test('silence is named after what was waited for', () => {
  assert.equal(at('resolving', 'hub'), 'NETWORK_DNS')
  assert.equal(at('connecting', 'hub'), 'NETWORK_TIMEOUT')
  assert.equal(at('securing', 'dps'), 'NETWORK_TIMEOUT')
  assert.equal(at('greeting', 'hub'), 'HUB_NO_ANSWER')
  assert.equal(at('open', 'hub'), 'HUB_NO_ANSWER')
  assert.equal(at('greeting', 'dps'), 'DPS_NO_ANSWER')
})

test('a failure carries host, phase and the raw code, and the raw error beneath it', () => {
  const error = raw('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:8883')
  const failure = failureOf({ endpoint: 'hub', host: 'hub-1.localhost', phase: 'connecting', error })
  assert.equal(failure.code, 'NETWORK_REFUSED')
  assert.deepEqual(failure.context, { host: 'hub-1.localhost', phase: 'connecting', raw: 'ECONNREFUSED' })
  assert.equal(failure.cause, error)
  assert.match(failure.message, /^hub-1\.localhost: connect ECONNREFUSED/)
})

test('a close without any error still says where it happened', () => {
  const failure = failureOf({ endpoint: 'hub', host: 'hub-1.localhost', phase: 'greeting' })
  assert.match(failure.message, /closed by the other side after the TLS handshake, before CONNACK/)
})
