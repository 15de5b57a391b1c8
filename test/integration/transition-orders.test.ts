/** The same moves by command on the device and by direct method from the cloud, and what is written down of them. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { eventually } from '../kit/device.ts'
import { eventsOf } from './agent-kit.ts'
import { bootUnit, install, MINUTE, pass, reported, startBed, steady, toX509, wish } from './transition-kit.ts'
import type { Bed, Unit } from './transition-kit.ts'
import { arrivalsOf, assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())

const onLane = (lane: string) => (auth: { readonly mode: string; readonly state: string }) =>
  auth.mode === lane && auth.state === 'active'

/** A line of the audit trail; what else it says depends on what it tells of. */
type Line = Readonly<Record<string, unknown>> & { readonly what: string; readonly hash: string; readonly prev: string }

/** The audit trail, once it has so many lines that fit. */
async function auditOf({ device }: Unit, fits: (line: Line) => boolean): Promise<readonly Line[]> {
  return eventually(async () => {
    const text = (await device.has('audit.ndjson')) ? await device.read('audit.ndjson') : ''
    const lines = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
    return lines.some(fits) ? lines : undefined
  })
}

test('auth x509 --wait follows the move until the certificate has proved itself, and ends with 0', async () => {
  await using unit = await bootUnit(bed, 'orders-01')
  const ordered = unit.device.run('auth', 'x509', '--wait')
  await install(unit)
  const { status, stdout, stderr } = await ordered
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /active: the device is on x509\n$/)
  const { lastAttempt } = await reported(unit, onLane('x509'))
  assert.deepEqual([lastAttempt?.cause, lastAttempt?.result, lastAttempt?.version], ['command', 'active', undefined])
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509'])
  assertOneAtATime(unit)
})

test('auth sas goes back, auth x509 returns with the same certificate, and each is told, written down and shown', async () => {
  await using unit = await bootUnit(bed, 'orders-02', { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\n' })
  const there = await unit.device.run('auth', 'sas')
  assert.equal(there.status, 0, there.stderr)
  await reported(unit, onLane('sas'))
  const back = await unit.device.run('auth', 'x509')
  assert.equal(back.status, 0, back.stderr)
  const { history } = await reported(unit, onLane('x509'))
  assert.deepEqual(
    history.map(({ to, cause, result }) => `${to} ${cause} ${result}`),
    ['sas command active', 'x509 command active'],
  )
  const lines = await auditOf(unit, ({ what, lane }) => what === 'committed' && lane === 'x509')
  const steps = lines.flatMap(({ what, cause, lane }) => (cause === 'command' ? [`${what} ${String(lane)}`] : []))
  const each = ['wanted', 'prepared', 'registered', 'proved', 'committed']
  assert.deepEqual(steps, [...each.map((what) => `${what} sas`), ...each.map((what) => `${what} x509`)])
  await steady(unit)
  const { stdout } = await unit.device.run('status')
  assert.match(stdout, /to X\.509 for a command: done/)
  assert.match(stdout, /entries, head [0-9a-f]{16}, intact/)
})

test('the trail is a chain: each line carries the hash of the one before, and its own over the rest of it', async () => {
  await using unit = await bootUnit(bed, 'orders-03')
  await toX509(unit)
  await auditOf(unit, ({ what }) => what === 'committed')
  const texts = (await unit.device.read('audit.ndjson')).split('\n').slice(0, -1)
  let prev = '0'.repeat(64)
  for (const text of texts) {
    const line = JSON.parse(text) as Line
    assert.equal(line.prev, prev)
    const without = text.replace(/,"hash":"[0-9a-f]{64}"\}$/, '}')
    assert.equal(line.hash, createHash('sha256').update(without).digest('hex'))
    prev = line.hash
  }
  const { auth } = await unit.agent().until(({ auth: { audit } }) => audit?.seq === texts.length)
  assert.equal(auth.audit?.head, prev)
})

test('the end of SAS is written down as it begins and as it is done, and not again with whatever follows', async () => {
  const toml = '[auth]\nmode = "x509"\nsoakSeconds = 0\n'
  await using unit = await bootUnit(bed, 'orders-09', { holds: ['sas', 'x509'], toml })
  wish(unit, { sasRetired: true })
  await auditOf(unit, ({ what, done }) => what === 'retirement' && done === true)
  // The hub loses the device, and DPS brings it back: something else to remember.
  const since = bed.cloud.record.seq()
  bed.cloud.hub.removeIdentity(unit.id)
  await unit.agent().until(({ connection }) => connection.state === 'disconnected')
  await pass(unit, 2 * MINUTE)
  await steady(unit)
  assert.deepEqual(registrationsOf(unit, since), ['fleet-x509'])
  const lines = await auditOf(unit, ({ what }) => what === 'retirement')
  const ends = lines.flatMap(({ what, done }) => (what === 'retirement' ? [done] : []))
  assert.deepEqual(ends, [false, true])
})

test('renew --rehearse says what would happen and changes nothing: no registration, no request, no key', async () => {
  await using unit = await bootUnit(bed, 'orders-04', { holds: ['x509'] })
  const since = bed.cloud.record.seq()
  const { status, stdout } = await unit.device.run('renew', '--rehearse')
  assert.equal(status, 0, stdout)
  assert.match(stdout, /would/)
  assert.match(stdout, /nothing has changed/)
  assert.deepEqual([registrationsOf(unit, since), sessionsOf(unit, since)], [[], []])
  assert.equal(await unit.device.has('credentials/pending'), false)
  assert.equal(await unit.device.has('requests'), false)
  assert.deepEqual(
    eventsOf(bed.cloud, 'disconnected', unit.id, since).filter(({ host }) => host === bed.cloud.hub.host),
    [],
  )
  const { history } = await reported(unit, ({ state }) => state === 'active')
  assert.deepEqual(history, [])
})

test('reprovision registers once more with the credential in use, and goes on with it', async () => {
  await using unit = await bootUnit(bed, 'orders-05', { holds: ['x509'] })
  const prints = () => eventsOf(bed.cloud, 'connected', unit.id).map(({ thumbprint }) => thumbprint)
  const [before] = prints()
  const { status, stderr } = await unit.device.run('reprovision')
  assert.equal(status, 0, stderr)
  const { lastAttempt } = await reported(unit, (auth) => onLane('x509')(auth) && auth.lastAttempt !== undefined)
  assert.deepEqual([lastAttempt?.cause, lastAttempt?.result], ['command', 'active'])
  assert.deepEqual(registrationsOf(unit), ['fleet-x509', 'fleet-x509'])
  assert.deepEqual(new Set(prints()), new Set([before]))
  assertOneAtATime(unit)
})

test('an order that cannot be followed ends with 1 and the reason, and nothing happens', async () => {
  await using unit = await bootUnit(bed, 'orders-06', { holds: ['x509'] })
  const since = bed.cloud.record.seq()
  const { status, stderr } = await unit.device.run('auth', 'sas', '--wait')
  assert.equal(status, 1)
  assert.match(stderr, /^AUTH_NO_SAS: this device has no SAS secret\n/)
  assert.deepEqual([registrationsOf(unit, since), sessionsOf(unit, since)], [[], []])
})

/** Calls a direct method as an operator does. */
function invoke({ id }: Unit, name: string, payload: unknown = {}) {
  return bed.cloud.hub.invokeMethod(id, { name, payload, responseTimeoutSeconds: 30 })
}

test('direct methods move the device, renew and register again; each is answered, told and written down', async () => {
  await using unit = await bootUnit(bed, 'orders-07', { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\n' })
  await served(unit)
  const there = await invoke(unit, 'setAuthMode', { mode: 'sas' })
  assert.equal(there.status, 200)
  assert.equal((there.payload as { accepted: boolean }).accepted, true)
  const { lastAttempt } = await reported(unit, onLane('sas'))
  assert.deepEqual([lastAttempt?.cause, lastAttempt?.result], ['method', 'active'])
  await served(unit)
  assert.equal((await invoke(unit, 'reprovision')).status, 200)
  await reported(unit, ({ state, history }) => state === 'active' && history.length === 2)
  assert.deepEqual(registrationsOf(unit), ['fleet-x509', 'fleet-sas', 'fleet-sas'])
  await served(unit)
  const since = bed.cloud.record.seq()
  const rehearsed = await invoke(unit, 'setAuthMode', { mode: 'x509', rehearse: true })
  assert.equal(rehearsed.status, 200)
  assert.deepEqual([registrationsOf(unit, since), sessionsOf(unit, since)], [[], []])
  // On SAS there is nothing to renew but X.509, for which a new certificate is asked.
  assert.equal((await invoke(unit, 'renewCertificate')).status, 200)
  await install(unit)
  await reported(unit, onLane('x509'))
  const lines = await auditOf(unit, ({ method }) => method === 'renewCertificate')
  const methods = lines.flatMap(({ what, method, outcome }) =>
    what === 'method' ? [`${String(method)} ${String(outcome)}`] : [],
  )
  assert.deepEqual(methods, [
    'setAuthMode accepted',
    'reprovision accepted',
    'setAuthMode rehearsed',
    'renewCertificate accepted',
  ])
  assert.equal(arrivalsOf(unit).at(-1)?.stamped, 'x509')
  assertOneAtATime(unit)
})

/** Methods are subscribed to anew on each session. */
async function served(unit: Unit): Promise<void> {
  await eventually(async () => (await invoke(unit, 'ping').catch(() => undefined)) && true)
}

test('a method that the device does not allow is refused and moves nothing', async () => {
  const toml = '[methods]\nallowed = "ping getStatus"\n'
  await using unit = await bootUnit(bed, 'orders-08', { holds: ['sas', 'x509'], toml })
  await served(unit)
  const since = bed.cloud.record.seq()
  const { status, payload } = await invoke(unit, 'setAuthMode', { mode: 'x509' })
  assert.deepEqual([status, (payload as { code: string }).code], [403, 'METHOD_NOT_ALLOWED'])
  assert.deepEqual([registrationsOf(unit, since), sessionsOf(unit, since)], [[], []])
})
