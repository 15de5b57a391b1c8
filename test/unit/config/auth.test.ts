import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { runConfigList } from '../../../agent/commands/config.ts'
import { configOf, enough, loadText, makeConfigFolder, onlyProblem, problemsOf } from './folder.ts'

const KEY_FILE = 'auth.sas.keyFile = "/etc/iot-device-agent/secrets/sas.key"\n'

async function authOf(text: string) {
  return configOf(await loadText(text)).auth
}

test('a device is born on SAS where a SAS secret is configured, else on X.509, unless auth.mode says it', async () => {
  assert.equal((await authOf('')).born, 'x509')
  assert.equal((await authOf(KEY_FILE)).born, 'sas')
  assert.equal((await authOf('auth.sas.connectionStringFile = "credential:cs"\n')).born, 'sas')
  assert.equal((await authOf(`${KEY_FILE}auth.mode = "x509"\n`)).born, 'x509')
  assert.equal((await authOf(`${KEY_FILE}auth.mode = "sas"\n`)).born, 'sas')
})

/** What an end of the fallback means, as ISO 8601 in UTC; the day by its last instant. */
const ends: readonly (readonly [written: string, utc: string])[] = [
  ['2027-01-31', '2027-02-01T00:00:00.000Z'],
  ['"2027-01-31"', '2027-02-01T00:00:00.000Z'],
  ['2028-02-29', '2028-03-01T00:00:00.000Z'],
  ['2027-01-31T18:00:00Z', '2027-01-31T18:00:00.000Z'],
  ['"2027-01-31T18:00Z"', '2027-01-31T18:00:00.000Z'],
  ['2027-01-31T18:00:00+05:30', '2027-01-31T12:30:00.000Z'],
  ['"2027-01-31T23:00:00-02:00"', '2027-02-01T01:00:00.000Z'],
]

for (const [written, utc] of ends) {
  test(`an end of the fallback written as ${written} means ${utc}`, async () => {
    const { fallback } = await authOf(`${KEY_FILE}[auth.fallback]\nenabled = true\nuntil = ${written}\n`)
    assert.equal(new Date(fallback.untilMs ?? 0).toISOString(), utc)
  })
}

const TOKEN = '[auth.x509]\nkeyStore = "pkcs11"\ntoken = "iot"\n'
const ENGINE = 'pkcs11Engine = "/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so"\n'

const contradictions: readonly (readonly [name: string, text: string, key: string, problem: RegExp])[] = [
  ['SAS as the first lane without a secret', 'auth.mode = "sas"', 'auth.mode', /no SAS secret/],
  [
    'a fallback without a secret',
    'auth.fallback = { enabled = true, until = 2027-01-31 }',
    'auth.fallback.enabled',
    /no SAS secret/,
  ],
  ['no lane at all', 'auth.x509.enabled = false', 'auth.x509.enabled', /only lane.*no SAS secret/],
  [
    'an EST server without a kind',
    '[issuer.est]\nserver = "https://est.example.com"\ncaFile = "/a.pem"\n',
    'issuer.est.server',
    /issuer\.kind is not set/,
  ],
  ['a program without a kind', '[issuer]\nprogram = ["/sign"]\n', 'issuer.program', /issuer\.kind is not set/],
  ['a token without a label', '[auth.x509]\nkeyStore = "pkcs11"\n', 'auth.x509.token', /missing/],
  ['an engine without a PIN', `${TOKEN}${ENGINE}`, 'auth.x509.pinFile', /missing beside auth\.x509\.pkcs11Engine/],
  ['a PIN without an engine', `${TOKEN}pinFile = "/etc/token.pin"\n`, 'auth.x509.pinFile', /only beside/],
  [
    'a PIN whose path breaks a URI',
    `${TOKEN}${ENGINE}pinFile = "/a;b"\n`,
    'auth.x509.pinFile',
    /cannot stand in the URI/,
  ],
  ['a fallback without an end', `${KEY_FILE}auth.fallback.enabled = true`, 'auth.fallback.until', /needs an end/],
  [
    'two SAS secrets',
    `${KEY_FILE}auth.sas.connectionStringFile = "/cs"`,
    'auth.sas.connectionStringFile',
    /one SAS secret/,
  ],
  [
    'a first lane that is off',
    `${KEY_FILE}auth.mode = "x509"\nauth.x509.enabled = false`,
    'auth.mode',
    /enabled is false/,
  ],
  [
    'certificates from DPS without anything to show it',
    'issuer.kind = "dps"',
    'issuer.kind',
    /shows something else first/,
  ],
  [
    'certificates from DPS by a connection string, which DPS does not know',
    'issuer.kind = "dps"\nauth.sas.connectionStringFile = "credential:cs"',
    'issuer.kind',
    /shows something else first/,
  ],
  [
    'a retirement of the key by which DPS issues',
    `${KEY_FILE}issuer.kind = "dps"\n[auth.fallback]\nenabled = true\nuntil = 2099-01-01\nretireAfterDays = 30`,
    'auth.fallback.retireAfterDays',
    /by which DPS issues/,
  ],
  [
    'half an onboarding pair',
    'issuer.kind = "dps"\nissuer.dps.certificateFile = "/a.pem"',
    'issuer.dps.keyFile',
    /missing beside/,
  ],
]

for (const [name, text, key, expected] of contradictions) {
  test(`${name} is a problem that says what to do`, async () => {
    const problem = onlyProblem(await loadText(`${text}\n`))
    assert.equal(problem.key, key)
    assert.match(problem.problem, expected)
    assert.ok(problem.remedy.length > 20)
  })
}

test('with a SAS secret the fallback, the lane and X.509 off are all sound', async () => {
  await authOf(`${KEY_FILE}auth.fallback = { enabled = true, until = 2027-01-31 }\nauth.mode = "sas"\n`)
  await authOf(`${KEY_FILE}auth.x509.enabled = false\n`)
})

test('an end without a fallback needs no secret', async () => {
  assert.equal((await authOf('auth.fallback.until = 2027-01-31\n')).fallback.enabled, false)
})

/** What people put where the name of a file belongs. `/` may begin a key in base64 as it does a path. */
const pasted: readonly string[] = [
  randomBytes(32).toString('base64'),
  randomBytes(64).toString('base64'),
  `/${randomBytes(32).toString('base64').slice(1)}`,
  `/+${randomBytes(48).toString('base64').slice(2)}`,
  'HostName=hub.example;DeviceId=press-07;SharedAccessKey=c2VjcmV0c2VjcmV0',
  '/x;SharedAccessKey=c2VjcmV0c2VjcmV0',
  'SharedAccessSignature sr=hub&sig=c2VjcmV0c2VjcmV0&se=1',
  'credential:../../etc/shadow',
  `credential:${'n'.repeat(65)}`,
  'credential:two words',
  'keys/sas.key',
]

for (const key of ['keyFile', 'connectionStringFile']) {
  for (const [index, value] of pasted.entries()) {
    test(`auth.sas.${key}: pasted value ${index + 1} is refused, is not shown, and the way out is a private file`, async () => {
      const problem = onlyProblem(await loadText(`auth.sas.${key} = ${JSON.stringify(value)}\n`))
      assert.equal(problem.key, `auth.sas.${key}`)
      assert.match(problem.remedy, /mode 0600/)
      for (const part of [value, value.slice(1, 20)]) assert.ok(!JSON.stringify(problem).includes(part))
    })
  }
}

test('a secret in the variable of its file is refused without being shown', async () => {
  const secret = randomBytes(32).toString('base64')
  const problem = onlyProblem(await loadText('', { ...enough, IOT_AGENT_SAS_KEY_FILE: secret }))
  assert.equal(problem.origin, 'environment IOT_AGENT_SAS_KEY_FILE')
  assert.ok(!JSON.stringify(problem).includes(secret))
  assert.match(problem.remedy, /mode 0600/)
})

test('a pasted secret beside a second one is not shown by the rule about the two either', async () => {
  const secret = randomBytes(32).toString('base64')
  const text = `auth.sas.connectionStringFile = ${JSON.stringify(secret)}\n${KEY_FILE}`
  assert.ok(!JSON.stringify(problemsOf(await loadText(text))).includes(secret))
})

for (const name of ['groupKey', 'symmetricKey', 'primaryKey', 'sharedAccessKey', 'connectionString', 'deviceKey']) {
  test(`who writes the secret as auth.sas.${name} is told where it belongs, and that a group key does not`, async () => {
    const secret = randomBytes(32).toString('base64')
    const problem = onlyProblem(await loadText(`auth.sas.${name} = ${JSON.stringify(secret)}\n`))
    assert.match(problem.remedy, /auth\.sas\.keyFile/)
    assert.match(problem.remedy, /mode 0600/)
    assert.match(problem.remedy, /group key never belongs on a device/)
    assert.ok(!JSON.stringify(problem).includes(secret))
  })
}

test('a reference to a secret is accepted as a path and as a credential of systemd, and is shown', async () => {
  for (const reference of ['/etc/iot-device-agent/secrets/sas.key', 'credential:sas', `credential:${'n'.repeat(64)}`]) {
    await using folder = await makeConfigFolder({ 'config.toml': `auth.sas.keyFile = "${reference}"\n` })
    let out = ''
    const io = { stdout: (text: string) => void (out += text), stderr: () => {} }
    assert.equal(runConfigList(io, { environment: enough, folder: folder.path }), 0)
    assert.ok(out.includes(`auth.sas.keyFile = "${reference}"`), out)
  }
})

async function sourceOf(text: string): Promise<string> {
  return configOf(await loadText(text)).clock.skewSource
}

async function allowedOf(text: string): Promise<readonly string[]> {
  return configOf(await loadText(`methods.allowed = "${text}"\n`)).methods.allowed
}

test('the clock is compared with the host of DPS on the port of HTTPS, unless another is written or none', async () => {
  assert.equal(await sourceOf('dps.host = "dps.localhost:28883"\n'), 'dps.localhost:443')
  assert.equal(await sourceOf('clock.skewSource = "time.example"\n'), 'time.example:443')
  assert.equal(await sourceOf('clock.skewSource = "time.example:8443"\n'), 'time.example:8443')
  assert.equal(await sourceOf('clock.skewSource = "off"\n'), 'off')
})

test('the allowed methods are read in any order and spacing, and listed as they are written', async () => {
  assert.deepEqual(await allowedOf('reprovision,  ping ping'), ['ping', 'reprovision'])
  assert.deepEqual(await allowedOf('none'), [])
  for (const [text, shown] of [
    ['getStatus,ping', 'ping getStatus'],
    ['none', 'none'],
  ]) {
    await using folder = await makeConfigFolder({ 'config.toml': `methods.allowed = "${text}"\n` })
    let out = ''
    const io = { stdout: (more: string) => void (out += more), stderr: () => {} }
    runConfigList(io, { environment: enough, folder: folder.path })
    assert.match(out, new RegExp(`^methods\\.allowed = "${shown}" `, 'm'))
  }
})

test('each unknown method is a problem with the one that was meant, and the list of them is bounded', async () => {
  const problems = problemsOf(await loadText('methods.allowed = "ping getstatus setAuthmod format"\n'))
  assert.deepEqual(
    problems.map(({ remedy }) => remedy.slice(0, 30)),
    ['Did you mean getStatus?', 'Did you mean setAuthMode?', 'There are ping, getStatus, setA'.slice(0, 30)],
  )
  const many = Array.from({ length: 200 }, (_, index) => `m${index}`).join(' ')
  assert.equal(problemsOf(await loadText(`methods.allowed = "${many}"\n`)).length, 8)
})

test('where DPS issues, the key is P-384, unless another is written', async () => {
  const managed = `${KEY_FILE}issuer.kind = "dps"\n`
  assert.equal((await authOf(KEY_FILE)).x509.keyType, 'ec-p256')
  assert.equal((await authOf(managed)).x509.keyType, 'ec-p384')
  assert.equal((await authOf(`${managed}auth.x509.keyType = "ec-p256"\n`)).x509.keyType, 'ec-p256')
})

test('back on a file, what led to the token may stay in the configuration', async () => {
  const text = `[auth.x509]\nkeyStore = "file"\ntoken = "iot"\n${ENGINE}pinFile = "/etc/token.pin"\n`
  assert.equal((await authOf(text)).x509.keyStore, 'file')
})

test('a PIN that somebody wrote in place of its file is shown nowhere', async () => {
  for (const line of ['pin = "4711"', 'tokenPin = "4711"', 'pinFile = "4711"']) {
    const problems = problemsOf(await loadText(`${TOKEN}${ENGINE}${line}\n`))
    assert.ok(problems.length > 0)
    assert.doesNotMatch(JSON.stringify(problems), /4711/, line)
  }
  const alone = problemsOf(await loadText(`${TOKEN}pinFile = "4711"\n`))
  assert.ok(alone.length > 0)
  assert.doesNotMatch(JSON.stringify(alone), /4711/)
})
