import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStatus } from '../../agent/control/status.ts'
import type { Lifecycle } from '../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../agent/credential/memory.ts'
import type { Rotation } from '../../agent/credential/rotation-ports.ts'
import type { X509Credential } from '../../agent/credential/x509-credential.ts'
import { createFacts, judgeHealth, reportOf, statusOf } from '../../agent/facts.ts'
import type { Facts } from '../../agent/facts.ts'
import { Failure } from '../../agent/failure.ts'
import type { OutboxLevel } from '../../agent/telemetry/outbox/port.ts'
import { emptyLevel, outboxAt } from '../kit/outbox-level.ts'
import { configOf, loadText } from './config/folder.ts'

const NOW_MS = Date.UTC(2026, 5, 1, 12)
const DAY_MS = 86_400_000

const config = configOf(await loadText(''))

function surroundings(level: () => OutboxLevel = () => emptyLevel) {
  return { config, outbox: outboxAt(level), intervalMs: () => 30_000 }
}

const certificate = {
  ...{ subject: 'CN=press-07', issuer: 'CN=Some CA', commonName: 'press-07', serial: '0A', keyKind: 'ec-p256' },
  ...{ thumbprintSha256: 'AB'.repeat(32), thumbprintSha1: 'CD'.repeat(20) },
  notBefore: new Date(NOW_MS - 10 * DAY_MS).toISOString(),
  notAfter: new Date(NOW_MS + 80 * DAY_MS).toISOString(),
}

function credential(origin: 'vault' | 'files'): X509Credential {
  const common = {
    lane: 'x509',
    keyPem: 'THE KEY ITSELF',
    keyStore: 'file',
    chainPem: 'THE CHAIN',
    facts: certificate,
  } as const
  const keyFile = origin === 'vault' ? '/state/credentials/gen-0001/key.pem' : '/etc/iot-certs/press-07.key'
  return { ...common, origin, keyFile, generation: 'gen-0001' }
}

/** Credentials that stand on a certificate. */
function rotation(lifecycle: Lifecycle): Rotation {
  return {
    record: () => ({ version: 1, lifecycle, memory: emptyMemory }),
    inventory: () => ({ certificates: [], sas: 'absent' }),
    waiting: () => undefined,
    run: () => Promise.reject(new Error('it does not run')),
    wish: () => undefined,
    clockMended: () => undefined,
    order: () => Promise.reject(new Error('it takes no orders')),
  }
}

const active = { lane: 'x509', generation: 'gen-0001' } as const

/** The facts of a device that is connected and well. */
function connected(): Facts {
  return {
    ...createFacts(NOW_MS - 60_000),
    clock: () => ({ trust: 'trusted' }),
    rotation: rotation({ phase: 'steady', active }),
    connection: { state: 'connected', sinceMs: NOW_MS - 30_000 },
    device: { deviceId: 'press-07', assignedHub: 'hub-1.example' },
    credential: credential('vault'),
    key: { mode: 0o600, remedy: undefined },
    acknowledged: 3,
    lastAcknowledgedAtMs: NOW_MS - 1_000,
  }
}

test('a device that has just started says so, in a status that every command understands', () => {
  const status = statusOf(createFacts(NOW_MS), surroundings(), NOW_MS)
  assert.ok(isStatus(JSON.parse(JSON.stringify(status))))
  assert.deepEqual(status.connection, { state: 'disconnected', sinceMs: NOW_MS, doing: 'starting' })
  assert.equal(status.auth.certificate, undefined)
  assert.equal(status.auth.key, undefined)
  assert.deepEqual(status.device, { registrationId: 'press-07', idScope: '0ne00ABCDEF' })
})

test('the status of a connected device has its hub, its certificate, and the mode of its key in octal', () => {
  const status = statusOf(connected(), surroundings(), NOW_MS)
  assert.ok(isStatus(JSON.parse(JSON.stringify(status))))
  assert.equal(status.device.assignedHub, 'hub-1.example')
  assert.equal(status.auth.state, 'active')
  assert.equal(status.auth.certificate?.issuedBy, 'folder')
  const path = '/state/credentials/gen-0001/key.pem'
  assert.deepEqual(status.auth.key, { path, mode: '0600', kind: 'ec-p256', store: 'file' })
  assert.equal(status.telemetry.intervalSeconds, 30)
})

test('neither the status nor the report has the key or the chain in it', () => {
  for (const view of [statusOf(connected(), surroundings(), NOW_MS), reportOf(connected(), surroundings(), NOW_MS)])
    assert.doesNotMatch(JSON.stringify(view), /THE KEY ITSELF|THE CHAIN/)
})

test('a failure is shown with code, fact and advice, and without what lies beneath', () => {
  const failure = new Failure('NETWORK_DNS', 'no such name', {
    cause: new Error('getaddrinfo'),
    context: { host: 'x' },
  })
  const facts = createFacts(NOW_MS)
  facts.connection = { state: 'disconnected', sinceMs: NOW_MS, doing: 'waiting', retryAtMs: NOW_MS + 5, failure }
  const { connection } = statusOf(facts, surroundings(), NOW_MS)
  assert.deepEqual(connection, {
    ...{ state: 'disconnected', sinceMs: NOW_MS, doing: 'waiting', retryAtMs: NOW_MS + 5 },
    failure: { code: 'NETWORK_DNS', message: 'no such name', advice: failure.advice },
  })
})

test('a pair of files is reported as such, and noted as one whose key was made elsewhere', () => {
  const facts = { ...connected(), credential: credential('files') }
  judgeHealth(facts, surroundings(), NOW_MS)
  assert.deepEqual(
    facts.warnings.map(({ code, severity }) => [code, severity]),
    [['LEGACY_KEY_PAIR', 'note']],
  )
  assert.equal(statusOf(facts, surroundings(), NOW_MS).auth.certificate?.issuedBy, 'file')
})

test('a warning is raised once, keeps its time while it stands, and is cleared once', () => {
  const facts = connected()
  assert.deepEqual(judgeHealth(facts, surroundings(), NOW_MS).raised, [])
  facts.key = { mode: 0o644, remedy: 'chmod 600 /key.pem' }
  const [raised] = judgeHealth(facts, surroundings(), NOW_MS + 1_000).raised
  assert.equal(raised?.code, 'KEY_EXPOSED')
  assert.deepEqual(judgeHealth(facts, surroundings(), NOW_MS + 2_000).raised, [])
  assert.equal(facts.warnings[0]?.sinceMs, NOW_MS + 1_000)
  facts.key = { mode: 0o600, remedy: undefined }
  const { cleared } = judgeHealth(facts, surroundings(), NOW_MS + 3_000)
  assert.deepEqual(
    cleared.map(({ code }) => code),
    ['KEY_EXPOSED'],
  )
  assert.deepEqual(facts.warnings, [])
})

/** Of the codes of warnings, those about a certificate that is waited for. */
const ofWaiting = (codes: readonly string[]) => codes.filter((code) => code.includes('AWAIT'))

test('while the next certificate is awaited the one in use stays in the report', () => {
  const move = { to: 'x509', fresh: true, cause: 'twin', atMs: NOW_MS - 6_000 } as const
  const preparing = rotation({ phase: 'preparing', active, move })
  const facts = { ...connected(), rotation: preparing, awaitingSinceMs: NOW_MS - 5_000 }
  const { auth } = reportOf(facts, surroundings(), NOW_MS) as {
    auth: { state: string; certificate: { serial: string } }
  }
  assert.deepEqual([auth.state, auth.certificate.serial], ['awaitingCertificate', '0A'])
  const raised = (awaitingSinceMs: number) =>
    judgeHealth({ ...facts, warnings: [], awaitingSinceMs }, surroundings(), NOW_MS).raised.map(({ code }) => code)
  assert.deepEqual(ofWaiting(raised(NOW_MS - 5_000)), [], 'an issuer that answers soon is no news')
  assert.deepEqual(ofWaiting(raised(NOW_MS - 3_600_000)), ['RENEWAL_AWAITED'])
  const without = judgeHealth({ ...facts, credential: undefined, warnings: [] }, surroundings(), NOW_MS).raised
  assert.ok(
    without.some(({ code }) => code === 'AWAITING_CERTIFICATE'),
    'without a good one it is trouble at once',
  )
})

const oneDropped: OutboxLevel = {
  ...{ ...emptyLevel, depth: 2, bytes: 4, oldestAtMs: NOW_MS - 60_000 },
  dropped: { full: 1, expired: 0, refused: 0, torn: 0 },
}

test('what the outbox gives up is counted in status and report, and warned of', () => {
  const around = surroundings(() => oneDropped)
  const facts = { ...connected(), lastDroppedMs: { full: NOW_MS } }
  const { telemetry } = statusOf(facts, around, NOW_MS)
  assert.deepEqual([telemetry.buffered, telemetry.dropped['full']], [2, 1])
  judgeHealth(facts, around, NOW_MS)
  const { outbox, warnings } = reportOf(facts, around, NOW_MS) as {
    outbox: unknown
    warnings: readonly { code: string }[]
  }
  assert.deepEqual(outbox, {
    ...{ depth: 2, bytes: 4, oldest: '2026-06-01T11:59:00.000Z', dropped: 1, place: 'disk' },
    droppedBy: oneDropped.dropped,
  })
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['TELEMETRY_DROPPED'],
  )
  assert.match(facts.warnings[0]?.text ?? '', /^1 sample given up \(full 1\)/)
})

test('what had been given up before the start is counted and not warned of', () => {
  const facts = connected()
  judgeHealth(
    facts,
    surroundings(() => oneDropped),
    NOW_MS,
  )
  assert.deepEqual(facts.warnings, [])
})

test('damage that was seen while it was mended is warned of afterwards', () => {
  const facts = connected()
  let level: OutboxLevel = { ...emptyLevel, place: 'mending' }
  const around = surroundings(() => level)
  judgeHealth(facts, around, NOW_MS)
  level = emptyLevel
  const { warnings } = judgeHealth(facts, around, NOW_MS + 60_000)
  assert.deepEqual(
    warnings.map(({ code, sinceMs }) => [code, sinceMs]),
    [['OUTBOX_TORN', NOW_MS]],
  )
})

test('a program that fails is warned of, and stands in the status with how the sending goes and what came by the socket', () => {
  const failure = new Failure('SOURCE_FAILED', 'it printed no JSON')
  const source = { name: 'weather', runs: 9, failures: 3, failedInARow: 3, lastFailure: failure }
  const forwarding = { inFlight: 1, window: 20, samplesPerSecond: 2, backlog: 0 }
  const socket = { accepted: 4, refused: { TELEMETRY_QUOTA: 1 } }
  const facts = { ...connected(), sources: () => [source], forwarding: () => forwarding, intake: () => socket }
  judgeHealth(facts, surroundings(), NOW_MS)
  assert.deepEqual(
    facts.warnings.map(({ code }) => code),
    ['SOURCE_FAILING'],
  )
  const { telemetry } = statusOf(facts, surroundings(), NOW_MS)
  assert.deepEqual([telemetry.forwarding, telemetry.socket], [forwarding, socket])
  assert.equal(telemetry.sources?.[0]?.lastFailure?.message, 'it printed no JSON')
})

test('a refused wish is named in the warning, a followed one is not', () => {
  const facts = connected()
  const refusals = [{ key: 'telemetry.intervalSeconds', status: 400, reason: 'no' } as const]
  facts.desired = { version: 2, wishes: { logLevel: 'info' }, refusals, readAtMs: NOW_MS }
  const [raised] = judgeHealth(facts, surroundings(), NOW_MS).raised
  assert.deepEqual([raised?.code, raised?.text], ['DESIRED_REFUSED', 'refused: telemetry.intervalSeconds'])
})
