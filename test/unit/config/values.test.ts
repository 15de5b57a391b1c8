import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, enough, loadText, onlyProblem, problemsOf } from './folder.ts'

const refused: readonly (readonly [line: string, key: string])[] = [
  ['dps.host = "https://global.azure-devices-provisioning.net"', 'dps.host'],
  ['dps.host = "global.azure-devices-provisioning.net/path"', 'dps.host'],
  ['dps.host = "user@host"', 'dps.host'],
  ['dps.host = "host:0"', 'dps.host'],
  ['dps.host = "host:65536"', 'dps.host'],
  ['dps.host = "host:"', 'dps.host'],
  ['dps.host = ":8883"', 'dps.host'],
  ['dps.host = "host..net"', 'dps.host'],
  ['dps.host = "-host"', 'dps.host'],
  ['dps.host = "host "', 'dps.host'],
  ['dps.host = "host\\n"', 'dps.host'],
  ['dps.host = ""', 'dps.host'],
  [`dps.host = "${'a'.repeat(64)}.net"`, 'dps.host'],
  ['dps.host = 8883', 'dps.host'],
  ['tls.caFile = "ca.pem"', 'tls.caFile'],
  ['tls.caFile = ""', 'tls.caFile'],
  ['tls.caFile = "/a\\u0000b"', 'tls.caFile'],
  ['tls.caFile = ["/a"]', 'tls.caFile'],
  ['tls.caFile = 1979-05-27', 'tls.caFile'],
  [`paths.runtimeDir = "/${'r'.repeat(92)}"`, 'paths.runtimeDir'],
  [`paths.runtimeDir = "/${'é'.repeat(46)}"`, 'paths.runtimeDir'],
  ['telemetry.intervalSeconds = 0', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = 86401', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = 1.5', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = nan', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = inf', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = true', 'telemetry.intervalSeconds'],
  ['telemetry.intervalSeconds = 07:32:00', 'telemetry.intervalSeconds'],
  ['telemetry.device = "yes"', 'telemetry.device'],
  ['telemetry.durability = "fsync"', 'telemetry.durability'],
  ['telemetry.batchSamples = 0', 'telemetry.batchSamples'],
  ['telemetry.batchSamples = 1001', 'telemetry.batchSamples'],
  ['telemetry.batchSeconds = 0', 'telemetry.batchSeconds'],
  ['telemetry.batchSeconds = 3601', 'telemetry.batchSeconds'],
  ['telemetry.compression = true', 'telemetry.compression'],
  ['telemetry.compression = "zstd"', 'telemetry.compression'],
  ['telemetry.outbox.maxMegabytes = 0', 'telemetry.outbox.maxMegabytes'],
  ['telemetry.outbox.maxMegabytes = 65537', 'telemetry.outbox.maxMegabytes'],
  ['telemetry.outbox.maxDays = 0', 'telemetry.outbox.maxDays'],
  ['telemetry.outbox.maxDays = 3651', 'telemetry.outbox.maxDays'],
  ['telemetry.drain.messagesPerSecond = -1', 'telemetry.drain.messagesPerSecond'],
  ['telemetry.drain.messagesPerSecond = 10001', 'telemetry.drain.messagesPerSecond'],
  ['telemetry.drain.jitterSeconds = -1', 'telemetry.drain.jitterSeconds'],
  ['telemetry.drain.jitterSeconds = 86401', 'telemetry.drain.jitterSeconds'],
  ['telemetry.socket.enabled = 1', 'telemetry.socket.enabled'],
  ['telemetry.socket.samplesPerSecond = -1', 'telemetry.socket.samplesPerSecond'],
  ['telemetry.socket.samplesPerSecond = 1000001', 'telemetry.socket.samplesPerSecond'],
  ['hub.keepAliveSeconds = 29', 'hub.keepAliveSeconds'],
  ['hub.keepAliveSeconds = 61', 'hub.keepAliveSeconds'],
  ['log.level = "INFO"', 'log.level'],
  ['log.level = 3', 'log.level'],
  ['auth.x509.keyType = "rsa-1024"', 'auth.x509.keyType'],
  ['auth.x509.keyType = "ec-p521"', 'auth.x509.keyType'],
  ['issuer.kind = "scep"', 'issuer.kind'],
  ['issuer.folder = "relative"', 'issuer.folder'],
  ['device.idRule = "any"', 'device.idRule'],
  ['auth.mode = "SAS"', 'auth.mode'],
  ['auth.allowDowngrade = "yes"', 'auth.allowDowngrade'],
  ['auth.allowDowngrade = 1', 'auth.allowDowngrade'],
  ['auth.x509.enabled = "false"', 'auth.x509.enabled'],
  ['auth.movesPerDay = 0', 'auth.movesPerDay'],
  ['auth.movesPerDay = 97', 'auth.movesPerDay'],
  ['auth.registerWithinSeconds = 29', 'auth.registerWithinSeconds'],
  ['auth.registerWithinSeconds = 3601', 'auth.registerWithinSeconds'],
  ['auth.proveWithinSeconds = 29', 'auth.proveWithinSeconds'],
  ['auth.proveWithinSeconds = 3601', 'auth.proveWithinSeconds'],
  ['auth.soakSeconds = -1', 'auth.soakSeconds'],
  ['auth.soakSeconds = 31536001', 'auth.soakSeconds'],
  ['auth.sas.enrollment = "fleet"', 'auth.sas.enrollment'],
  ['auth.fallback.refusals = 1', 'auth.fallback.refusals'],
  ['auth.fallback.refusals = 101', 'auth.fallback.refusals'],
  ['auth.fallback.holdOffSeconds = 86401', 'auth.fallback.holdOffSeconds'],
  ['auth.fallback.perDay = 0', 'auth.fallback.perDay'],
  ['auth.fallback.perDay = 25', 'auth.fallback.perDay'],
  ['auth.fallback.returnAfterSeconds = 4', 'auth.fallback.returnAfterSeconds'],
  ['auth.fallback.returnAfterSeconds = 604801', 'auth.fallback.returnAfterSeconds'],
  ['auth.fallback.retireAfterDays = 0', 'auth.fallback.retireAfterDays'],
  ['auth.fallback.retireAfterDays = 3651', 'auth.fallback.retireAfterDays'],
  ['auth.fallback.until = "31.01.2027"', 'auth.fallback.until'],
  ['auth.fallback.until = "2027-01"', 'auth.fallback.until'],
  ['auth.fallback.until = "2027-02-29"', 'auth.fallback.until'],
  ['auth.fallback.until = "2027-01-31T18:00:00"', 'auth.fallback.until'],
  ['auth.fallback.until = 2027-01-31T18:00:00', 'auth.fallback.until'],
  ['auth.fallback.until = 18:00:00', 'auth.fallback.until'],
  ['auth.fallback.until = 2027', 'auth.fallback.until'],
  ['clock.syncWaitSeconds = 3601', 'clock.syncWaitSeconds'],
  ['clock.skewSource = "https://time.example"', 'clock.skewSource'],
  ['clock.skewSource = ""', 'clock.skewSource'],
  ['methods.allowed = ""', 'methods.allowed'],
  ['methods.allowed = " , "', 'methods.allowed'],
  ['methods.allowed = ["ping"]', 'methods.allowed'],
  ['methods.allowed = "ping reboot"', 'methods.allowed'],
  ['methods.allowed = "none ping"', 'methods.allowed'],
]

for (const [line, key] of refused) {
  test(`${line.slice(0, 70)} is refused`, async () => {
    const problem = onlyProblem(await loadText(`${line}\n`))
    assert.equal(problem.key, key)
    assert.ok(problem.value !== undefined && problem.value.length < 200)
    assert.doesNotMatch(problem.value, /\p{Cc}/u)
  })
}

const accepted: readonly string[] = [
  'dps.host = "127.0.0.1:28883"',
  'dps.host = "dps.localhost:65535"',
  'dps.host = "Global.Azure-Devices-Provisioning.net"',
  'telemetry.intervalSeconds = 1',
  'telemetry.intervalSeconds = 86_400',
  'telemetry = { device = false, durability = "synced", batchSamples = 1000, batchSeconds = 3600, compression = "gzip" }',
  'telemetry = { durability = "relaxed", batchSamples = 1, batchSeconds = 1, compression = "off" }',
  'telemetry.outbox = { maxMegabytes = 1, maxDays = 1 }',
  'telemetry.outbox = { maxMegabytes = 65_536, maxDays = 3650 }',
  'telemetry.drain = { messagesPerSecond = 0, jitterSeconds = 0 }',
  'telemetry.drain = { messagesPerSecond = 10_000, jitterSeconds = 86_400 }',
  'telemetry.socket = { enabled = false, samplesPerSecond = 0 }',
  'telemetry.socket.samplesPerSecond = 1_000_000',
  'hub.keepAliveSeconds = 30',
  'hub.keepAliveSeconds = 60',
  `paths.runtimeDir = "/${'r'.repeat(91)}"`,
  'auth.x509.keyType = "rsa-4096"',
  'auth = { x509 = { keyType = "ec-p384" } }',
  'auth.mode = "x509"',
  'auth.allowDowngrade = false',
  'auth.movesPerDay = 1',
  'auth.movesPerDay = 96',
  'auth.registerWithinSeconds = 30',
  'auth.registerWithinSeconds = 3600',
  'auth.proveWithinSeconds = 30',
  'auth.proveWithinSeconds = 3600',
  'auth.soakSeconds = 0',
  'auth.soakSeconds = 31_536_000',
  'auth.sas = { keyFile = "/s/key", enrollment = "individual" }',
  'auth.fallback = { refusals = 2, holdOffSeconds = 0, perDay = 1, returnAfterSeconds = 5, retireAfterDays = 1 }',
  'auth.fallback = { refusals = 100, holdOffSeconds = 86400, perDay = 24, returnAfterSeconds = 604800, retireAfterDays = 3650 }',
  'clock = { syncWaitSeconds = 0, skewSource = "off" }',
  'clock = { syncWaitSeconds = 3600, skewSource = "time.example:8443" }',
  'methods.allowed = "none"',
  'methods.allowed = "ping, getStatus,ping"',
]

for (const line of accepted) {
  test(`${line.slice(0, 70)} is accepted`, async () => {
    configOf(await loadText(`${line}\n`))
  })
}

test('the folder issuer follows its own folder, the rest follows the state folder', async () => {
  const config = configOf(await loadText('paths.stateDir = "/s"\nissuer.folder = "/exchange"\n'))
  assert.equal(config.issuer.folder, '/exchange')
  assert.equal(config.paths.requestsDir, '/exchange/requests')
  assert.equal(config.paths.issuedDir, '/exchange/issued')
  assert.equal(config.paths.stateDir, '/s')
})

const ids: readonly (readonly [id: string, portable: boolean, azure: boolean])[] = [
  ['a', true, true],
  ['press-07', true, true],
  ['0', true, true],
  ['a'.repeat(64), true, true],
  ['a'.repeat(65), false, false],
  ['Press-07', false, true],
  ['press_07', false, true],
  ['press.07:a', false, true],
  ['press-', false, true],
  ['-press', false, true],
  ['press.', false, false],
  ['press 07', false, false],
  ['prässe', false, false],
  ['../press', false, false],
  ['press/07', false, false],
  ['press07\n', false, false],
  ['press+07', false, false],
]

for (const [id, portable, azure] of ids) {
  test(`registration ID ${JSON.stringify(id).slice(0, 40)}: portable ${portable}, azure ${azure}`, async () => {
    const text = `device.registrationId = ${JSON.stringify(id)}\n`
    assert.equal((await loadText(text, { DPS_ID_SCOPE: '0ne1' })).ok, portable)
    assert.equal((await loadText(`${text}device.idRule = "azure"\n`, { DPS_ID_SCOPE: '0ne1' })).ok, azure)
  })
}

test('who has capitals in the ID is told the rule that lets them through, unless no rule does', async () => {
  const wide = onlyProblem(await loadText('', { ...enough, DEVICE_ID: 'Press-07' }))
  assert.match(wide.problem, /capital letters/)
  assert.match(wide.remedy, /IOT_AGENT_ID_RULE=azure/)
  const none = onlyProblem(await loadText('', { ...enough, DEVICE_ID: 'Press 07' }))
  assert.doesNotMatch(none.remedy, /azure/)
})

test('half a pair is a problem of the missing half, whichever it is and wherever the other comes from', async () => {
  const withoutKey = onlyProblem(await loadText('', { ...enough, CERT_PATH: '/c.pem' }))
  assert.equal(withoutKey.key, 'auth.x509.keyFile')
  assert.match(withoutKey.remedy, /KEY_PATH=\/etc\/iot-certs\/press-07\.key/)
  assert.equal(onlyProblem(await loadText('auth.x509.keyFile = "/k"\n')).key, 'auth.x509.certificateFile')
  configOf(await loadText('auth.x509.keyFile = "/k"\n', { ...enough, CERT_PATH: '/c.pem' }))
})

test('a number in the environment is read as a number, anything else of it is a problem', async () => {
  for (const text of ['60', ' 60', '+60']) {
    const config = configOf(await loadText('', { ...enough, TELEMETRY_INTERVAL: text }))
    assert.equal(config.telemetry.intervalSeconds, 60)
  }
  for (const text of ['0', '-60', '1e2', '0x10', '60s', '6 0', ' ', '9'.repeat(400)]) {
    const problem = onlyProblem(await loadText('', { ...enough, TELEMETRY_INTERVAL: text }))
    assert.equal(problem.origin, 'environment TELEMETRY_INTERVAL', text)
  }
})

test('what is required is missing when its variable is empty', async () => {
  const problems = problemsOf(await loadText('', { DPS_ID_SCOPE: '', DEVICE_ID: '' }))
  assert.deepEqual(
    problems.map(({ key, value }) => [key, value]),
    [
      ['device.registrationId', undefined],
      ['dps.idScope', undefined],
    ],
  )
})
