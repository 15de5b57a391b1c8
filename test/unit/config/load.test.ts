import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig } from '../../../agent/config/load.ts'
import { likelyControlSocket, likelyTelemetrySocket, providedPair } from '../../../agent/config/paths.ts'
import { configOf, enough, loadText, makeConfigFolder, onlyProblem, problemsOf } from './folder.ts'

const minimum = '[device]\nregistrationId = "from-file"\n[dps]\nidScope = "0neFILE"\n'

test('the two required variables alone are a whole configuration, with the documented defaults', async () => {
  await using folder = await makeConfigFolder({})
  const loaded = loadConfig({ environment: enough, folder: folder.path, pythonFolder: folder.path })
  const { written: _, ...config } = configOf(loaded)
  assert.deepEqual(config, {
    device: { registrationId: 'press-07', idRule: 'portable' },
    dps: { host: 'global.azure-devices-provisioning.net', idScope: '0ne00ABCDEF' },
    auth: {
      born: 'x509',
      allowDowngrade: true,
      movesPerDay: 12,
      registerWithinSeconds: 600,
      proveWithinSeconds: 300,
      soakSeconds: 86_400,
      x509: {
        ...{ enabled: true, keyStore: 'file', keyType: 'ec-p256' },
        encryptionKeyFile: '/run/iot-device-agent-key/encryption-key',
      },
      sas: { enrollment: 'group' },
      renewal: { enabled: true, percent: 70, spreadPercent: 10, floorSeconds: 3600 },
      fallback: {
        enabled: false,
        untilMs: undefined,
        refusals: 5,
        holdOffSeconds: 1800,
        perDay: 2,
        returnAfterSeconds: 14_400,
      },
    },
    issuer: { kind: 'folder', folder: '/var/lib/iot-device-agent', timeoutSeconds: 60, est: {}, dps: {} },
    telemetry: {
      intervalSeconds: 60,
      device: true,
      durability: 'written',
      batchSamples: 1,
      batchSeconds: 5,
      compression: 'off',
      outbox: { maxMegabytes: 256, maxDays: 30 },
      drain: { messagesPerSecond: 50, jitterSeconds: 30 },
      socket: { enabled: true, samplesPerSecond: 1000 },
      command: [],
    },
    hub: { keepAliveSeconds: 45 },
    clock: { syncWaitSeconds: 300, skewSource: 'global.azure-devices-provisioning.net:443' },
    methods: {
      allowed: [
        'ping',
        'getStatus',
        'setAuthMode',
        'renewCertificate',
        'reprovision',
        'setLogLevel',
        'getCsr',
        'installCertificate',
      ],
    },
    log: { level: 'info' },
    tls: {},
    paths: {
      stateDir: '/var/lib/iot-device-agent',
      runtimeDir: '/run/iot-device-agent',
      requestsDir: '/var/lib/iot-device-agent/requests',
      issuedDir: '/var/lib/iot-device-agent/issued',
      assignmentFile: '/var/lib/iot-device-agent/assignment.json',
      sasAssignmentFile: '/var/lib/iot-device-agent/assignment-sas.json',
      hubRequestFile: '/var/lib/iot-device-agent/hub-request.json',
      auditFile: '/var/lib/iot-device-agent/audit.ndjson',
      clockFile: '/var/lib/iot-device-agent/clock',
      outboxFile: '/var/lib/iot-device-agent/outbox.db',
      controlSocket: '/run/iot-device-agent/control.sock',
      telemetrySocket: '/run/iot-device-agent/telemetry.sock',
    },
  })
})

test('every variable of the Python client and of the agent reaches its key', async () => {
  const loaded = await loadText('', {
    DPS_HOST: 'localhost:28883',
    DPS_ID_SCOPE: '0ne1',
    DEVICE_ID: 'Press_07',
    CERT_PATH: '/c/leaf.pem',
    KEY_PATH: '/c/leaf.key',
    TELEMETRY_INTERVAL: ' 5 ',
    IOT_AGENT_ID_RULE: 'azure',
    IOT_AGENT_LOG_LEVEL: 'debug',
    IOT_AGENT_CA_FILE: '/c/ca.pem',
    IOT_AGENT_STATE_DIR: '/home/u/state',
    IOT_AGENT_RUNTIME_DIR: '/home/u/run',
    IOT_AGENT_SAS_KEY_FILE: 'credential:sas',
  })
  const config = configOf(loaded)
  assert.equal(config.dps.host, 'localhost:28883')
  assert.equal(config.device.registrationId, 'Press_07')
  assert.deepEqual(providedPair(config), { certificateFile: '/c/leaf.pem', keyFile: '/c/leaf.key' })
  assert.equal(config.telemetry.intervalSeconds, 5)
  assert.equal(config.log.level, 'debug')
  assert.equal(config.auth.sas.keyFile, 'credential:sas')
  assert.equal(config.tls.caFile, '/c/ca.pem')
  assert.equal(config.paths.stateDir, '/home/u/state')
  assert.equal(config.paths.outboxFile, '/home/u/state/outbox.db')
  assert.equal(config.paths.controlSocket, '/home/u/run/control.sock')
  assert.equal(config.paths.telemetrySocket, '/home/u/run/telemetry.sock')
  assert.equal(loaded.ok && loaded.origins['telemetry.intervalSeconds'], 'environment TELEMETRY_INTERVAL')
})

test('without a configuration the sockets are looked for in the folder that the variable names, else in the usual one', () => {
  const environment = { IOT_AGENT_RUNTIME_DIR: '/home/u/run' }
  assert.equal(likelyControlSocket(environment), '/home/u/run/control.sock')
  assert.equal(likelyTelemetrySocket(environment), '/home/u/run/telemetry.sock')
  assert.equal(likelyControlSocket({ IOT_AGENT_RUNTIME_DIR: '' }), '/run/iot-device-agent/control.sock')
  assert.equal(likelyTelemetrySocket({}), '/run/iot-device-agent/telemetry.sock')
})

test('a later place wins key by key: defaults, config.toml, config.d in name order, environment', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': `${minimum}[telemetry]\nintervalSeconds = 10\nbatchSamples = 10\n[hub]\nkeepAliveSeconds = 31\n`,
    'config.d/20-b.toml': '[telemetry]\nintervalSeconds = 30\n[log]\nlevel = "warn"\n',
    'config.d/10-a.toml': '[telemetry]\nintervalSeconds = 20\nbatchSamples = 20\n',
    'config.d/30-ignored.conf': 'this is not TOML',
    'config.d/.40-hidden.toml': 'neither is this',
  })
  const loaded = loadConfig({ environment: { IOT_AGENT_LOG_LEVEL: 'error', DPS_HOST: '' }, folder: folder.path })
  const config = configOf(loaded)
  assert.equal(config.telemetry.intervalSeconds, 30)
  assert.equal(config.telemetry.batchSamples, 20)
  assert.equal(config.hub.keepAliveSeconds, 31)
  assert.equal(config.log.level, 'error')
  assert.equal(config.dps.host, 'global.azure-devices-provisioning.net')
  assert.ok(loaded.ok)
  assert.equal(loaded.origins['telemetry.batchSamples'], join(folder.path, 'config.d/10-a.toml'))
  assert.equal(loaded.origins['log.level'], 'environment IOT_AGENT_LOG_LEVEL')
  assert.equal(loaded.origins['dps.host'], 'default')
  assert.equal(loaded.origins['tls.caFile'], undefined)
  assert.deepEqual(loaded.overridden['telemetry.intervalSeconds'], [
    join(folder.path, 'config.d/10-a.toml'),
    join(folder.path, 'config.toml'),
  ])
  assert.equal(loaded.overridden['hub.keepAliveSeconds'], undefined)
})

test('a value that is overridden is not judged, so that a drop-in can mend a bad file', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': `${minimum}[telemetry]\nintervalSeconds = 0\n`,
    'config.d/mend.toml': '[telemetry]\nintervalSeconds = 1\n',
  })
  assert.equal(configOf(loadConfig({ environment: {}, folder: folder.path })).telemetry.intervalSeconds, 1)
})

test('all problems of all places come at once, each with its key, place and remedy', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': '[dps]\nidSkope = "0ne1"\nhost = "https://example.net/"\n[hub]\nkeepAliveSeconds = "45"\n',
    'config.d/10.toml': '[log]\nlevel = "verbose"\n',
  })
  const environment = { TELEMETRY_INTERVAL: 'often', DEVICE_ID: 'Press-07', KEY_PATH: '/k.pem' }
  const problems = problemsOf(loadConfig({ environment, folder: folder.path }))
  const byKey = new Map(problems.map((problem) => [problem.key, problem]))
  assert.deepEqual([...byKey.keys()].map(String).toSorted(), [
    'auth.x509.certificateFile',
    'device.registrationId',
    'dps.host',
    'dps.idScope',
    'dps.idSkope',
    'hub.keepAliveSeconds',
    'log.level',
    'telemetry.intervalSeconds',
  ])
  assert.equal(problems.length, byKey.size)
  assert.equal(byKey.get('log.level')?.origin, join(folder.path, 'config.d/10.toml'))
  assert.equal(byKey.get('log.level')?.value, '"verbose"')
  assert.match(byKey.get('log.level')?.problem ?? '', /"debug", "info", "warn", "error"/)
  assert.match(byKey.get('hub.keepAliveSeconds')?.problem ?? '', /whole number from 30 to 60, got a string/)
  assert.equal(byKey.get('telemetry.intervalSeconds')?.origin, 'environment TELEMETRY_INTERVAL')
  assert.match(byKey.get('telemetry.intervalSeconds')?.remedy ?? '', /TELEMETRY_INTERVAL=60/)
  assert.match(byKey.get('dps.idScope')?.remedy ?? '', /DPS_ID_SCOPE=/)
  assert.match(byKey.get('auth.x509.certificateFile')?.remedy ?? '', /CERT_PATH=/)
  for (const problem of problems) assert.ok(problem.remedy.length > 10, problem.key)
})

test('a file that is not TOML is named with line and column, its text is not quoted, and other files are still read', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': '[dps]\nidScope = "0ne1"\nconnection = "SharedAccessKey=topsecret" oops\n',
    'config.d/10.toml': '[log]\nlevel = "loud"\n',
  })
  const problems = problemsOf(loadConfig({ environment: { DEVICE_ID: 'a' }, folder: folder.path }))
  assert.equal(problems[0]?.origin, `${join(folder.path, 'config.toml')}:3:42`)
  assert.match(problems[0]?.problem ?? '', /^Line 3, column 42 is not TOML/)
  assert.deepEqual(
    problems.map((problem) => problem.key),
    [undefined, 'log.level'],
    'a key that may stand in the unread file is not called missing',
  )
  assert.doesNotMatch(JSON.stringify(problems), /topsecret/)
})

test('no file at all is fine in the standard place, a folder that is named must exist', async () => {
  await using folder = await makeConfigFolder({})
  const absent = join(folder.path, 'absent')
  assert.equal(onlyProblem(loadConfig({ environment: { ...enough, IOT_AGENT_CONFIG_DIR: absent } })).origin, absent)
  assert.equal(onlyProblem(loadConfig({ environment: enough, folder: absent })).origin, absent)
  configOf(loadConfig({ environment: { ...enough, IOT_AGENT_CONFIG_DIR: folder.path }, pythonFolder: absent }))
})

test('the folder of the environment is read', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': minimum })
  const loaded = loadConfig({ environment: { IOT_AGENT_CONFIG_DIR: folder.path } })
  assert.equal(configOf(loaded).device.registrationId, 'from-file')
})

const hostile: readonly (readonly [name: string, content: string | Uint8Array, problem: RegExp])[] = [
  ['bytes that are not UTF-8', Buffer.from('[dps]\nhost = "\xff\xfe"\n', 'latin1'), /not UTF-8/],
  ['more than 1 MiB', '#'.repeat(1024 * 1024 + 1), /1048577 bytes/],
  ['a key that is written twice', '[log]\nlevel = "info"\nlevel = "warn"\n', /Line 3, column 1 /],
  ['a key twice in an inline table', 'log = { level = "info", level = "warn" }\n', /Line 1, column 25 /],
  ['a table that is written twice', '[log]\n[log]\n', /Line 2/],
  ['a whole number that no double holds', '[telemetry]\nintervalSeconds = 9223372036854775807\n', /Line 2, column 19/],
  ['nesting without end', `a = ${'['.repeat(100_000)}`, /nested/],
]

for (const [name, content, expected] of hostile) {
  test(`a file with ${name} is refused and does not end the program`, async () => {
    await using folder = await makeConfigFolder({ 'config.toml': content })
    assert.match(onlyProblem(loadConfig({ environment: enough, folder: folder.path })).problem, expected)
  })
}

test('a file of exactly 1 MiB is read', async () => {
  configOf(await loadText(`${minimum}#`.padEnd(1024 * 1024, 'x')))
})

test('what is no regular file is refused without waiting for it', async () => {
  await using folder = await makeConfigFolder({ 'config.d/20-null.toml': '' })
  execFileSync('mkfifo', [join(folder.path, 'config.toml')])
  await mkdir(join(folder.path, 'config.d/30.toml'))
  await symlink('/dev/zero', join(folder.path, 'config.d/40.toml'))
  const problems = problemsOf(loadConfig({ environment: enough, folder: folder.path }))
  assert.deepEqual(
    problems.map(({ problem }) => problem),
    Array.from({ length: 3 }, () => 'It is not a regular file.'),
  )
})

test('a link that leads in circles, and a config.d that is a file, are problems and no crash', async () => {
  await using folder = await makeConfigFolder({ 'config.d': 'not a folder' })
  await symlink('config.toml', join(folder.path, 'config.toml'))
  const problems = problemsOf(loadConfig({ environment: enough, folder: folder.path }))
  assert.deepEqual(problems.map(({ origin = '' }) => origin).toSorted(), [
    join(folder.path, 'config.d'),
    join(folder.path, 'config.toml'),
  ])
})

test('a file and a folder that may not be read are problems', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': minimum, 'config.d/10.toml': '' })
  await chmod(join(folder.path, 'config.toml'), 0)
  await chmod(join(folder.path, 'config.d'), 0)
  const problems = asNobody(() => problemsOf(loadConfig({ environment: enough, folder: folder.path })))
  await chmod(join(folder.path, 'config.d'), 0o700)
  assert.deepEqual(
    problems.map(({ problem }) => problem),
    ['It cannot be read: EACCES.', 'It cannot be listed: EACCES.'],
  )
})

/** Runs without the rights of root, who may read everything. */
function asNobody<T>(work: () => T): T {
  if (process.geteuid?.() !== 0) return work()
  process.seteuid?.(65_534)
  try {
    return work()
  } finally {
    process.seteuid?.(0)
  }
}

test('the pair of the Python client is taken when DEVICE_ID is a variable and both files are there', async () => {
  await using folder = await makeConfigFolder({ 'certs/press-07.pem': '', 'certs/press-07.key': '' })
  const pythonFolder = join(folder.path, 'certs')
  const loaded = loadConfig({ environment: enough, folder: folder.path, pythonFolder })
  const pair = {
    certificateFile: join(pythonFolder, 'press-07.pem'),
    keyFile: join(pythonFolder, 'press-07.key'),
  }
  assert.deepEqual(providedPair(configOf(loaded)), pair)
  assert.equal(loaded.ok && loaded.origins['auth.x509.keyFile'], 'python default')
})

test('the pair of the Python client is not taken beside another pair, for an ID of a file, or when half of it is there', async () => {
  await using folder = await makeConfigFolder({
    'certs/press-07.pem': '',
    'certs/press-07.key': '',
    'certs/half.pem': '',
  })
  const pythonFolder = join(folder.path, 'certs')
  const pairFor = (environment: Record<string, string>) =>
    providedPair(configOf(loadConfig({ environment, folder: folder.path, pythonFolder })))
  assert.deepEqual(pairFor({ ...enough, CERT_PATH: '/a.pem', KEY_PATH: '/a.key' }), {
    certificateFile: '/a.pem',
    keyFile: '/a.key',
  })
  assert.equal(pairFor({ ...enough, DEVICE_ID: 'half' }), undefined)
  await writeFile(join(folder.path, 'config.toml'), '[device]\nregistrationId = "press-07"\n')
  assert.equal(pairFor({ DPS_ID_SCOPE: '0ne1' }), undefined)
})

test('a place of the Python pair that cannot be looked at is a problem, not a reason for a new key', async () => {
  await using folder = await makeConfigFolder({ certs: 'a file where the folder should be' })
  const problems = problemsOf(
    loadConfig({ environment: enough, folder: folder.path, pythonFolder: join(folder.path, 'certs') }),
  )
  assert.deepEqual(
    problems.map(({ key, origin }) => [key, origin]),
    [
      ['auth.x509.certificateFile', 'python default'],
      ['auth.x509.keyFile', 'python default'],
    ],
  )
})

test('an ID that would lead out of the folder of the Python client is never looked up', async () => {
  await using folder = await makeConfigFolder({ certs: 'a look below this file would be a problem of its own' })
  const environment = { ...enough, DEVICE_ID: '../out' }
  const loaded = loadConfig({ environment, folder: folder.path, pythonFolder: join(folder.path, 'certs') })
  assert.equal(onlyProblem(loaded).key, 'device.registrationId')
})

test('a variable of our prefix that nobody knows is a problem, with the one that was meant; others are not ours', () => {
  const environment = { ...enough, IOT_AGENT_STATEDIR: '/x', SOME_AGENT_STATEDIR: '/x', IOT_AGENT_CONFIG_DIR: '' }
  const problem = onlyProblem(loadConfig({ environment }))
  assert.match(problem.problem, /IOT_AGENT_STATEDIR/)
  assert.match(problem.remedy, /IOT_AGENT_STATE_DIR/)
})
