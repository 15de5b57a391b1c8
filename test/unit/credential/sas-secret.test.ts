import assert from 'node:assert/strict'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { exposureOfSecret, readSasSecret, secretPaths } from '../../../agent/credential/sas-secret.ts'
import type { Ownership } from '../../../agent/credential/private-file.ts'
import type { Environment, SasSource } from '../../../agent/credential/sas-secret.ts'
import { asFailure, Failure } from '../../../agent/failure.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

/** 32 bytes of 0x5a, as `printf 'Z%.0s' {1..32} | base64` writes them. */
const KEY = 'WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo='
const KEY_HEX = '5a'.repeat(32)
const DIRECT = `HostName=Old-Hub.azure-devices.net;DeviceId=Edge-0042;SharedAccessKey=${KEY}`

/** Bytes of a length, as base64. */
const base64Of = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64')

type Wish = Pick<SasSource, 'enrollment'> & { readonly as: 'keyFile' | 'connectionStringFile'; readonly mode: number }

async function readText(text: string, wish: Partial<Wish> = {}) {
  const { as = 'keyFile', enrollment = 'individual', mode = 0o600 } = wish
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'secret')
  await writeFile(path, text, { mode })
  await chmod(path, mode)
  return { path, read: await readSasSecret({ [as]: path, enrollment }, {}).catch(asFailure) }
}

async function secretOf(text: string, wish: Partial<Wish> = {}) {
  const { path, read } = await readText(text, wish)
  if (read instanceof Failure) throw read
  return { path, secret: read ?? assert.fail('nothing was read') }
}

async function failureOf(text: string, wish: Partial<Wish> = {}): Promise<Failure> {
  const { read } = await readText(text, wish)
  return read instanceof Failure ? read : assert.fail('it was accepted')
}

test('without a setting there is no secret', async () => {
  assert.equal(await readSasSecret({ enrollment: 'group' }, {}), undefined)
})

test('a key is read with the place where it was found', async () => {
  const { path, secret } = await secretOf(KEY)
  assert.equal(secret.kind, 'dps')
  assert.equal(secret.path, path)
  assert.equal(secret.key.export().toString('hex'), KEY_HEX)
})

for (const [what, text] of Object.entries({
  'a newline at its end': `${KEY}\n`,
  'lines as Windows ends them': `${KEY}\r\n`,
  'a byte order mark': `\uFEFF${KEY}`,
  'blanks around it': ` \t${KEY}  \n\n`,
})) {
  test(`a key with ${what} is the same key`, async () => {
    const { secret } = await secretOf(text)
    assert.equal(secret.key.export().toString('hex'), KEY_HEX)
  })
}

test('a secret shows its key neither in a log line nor in JSON', async () => {
  for (const as of ['keyFile', 'connectionStringFile'] as const) {
    const { secret } = await secretOf(as === 'keyFile' ? KEY : DIRECT, { as })
    const shown = `${inspect(secret, { depth: 10, showHidden: true })} ${JSON.stringify(secret)}`
    assert.ok(!shown.includes(KEY) && !shown.includes(KEY_HEX) && !shown.includes('ZZZZ'), shown)
  }
})

for (const bytes of [16, 32, 64]) {
  test(`the key of an individual enrollment may have ${bytes} bytes`, async () => {
    assert.equal((await secretOf(base64Of(bytes))).secret.key.symmetricKeySize, bytes)
  })
}

for (const [what, text] of Object.entries({
  nothing: '\n',
  '15 bytes': base64Of(15),
  '65 bytes': base64Of(65),
  'no base64': 'zx81?zx82?zx83?zx84?zx85?zx86?zx87?zx88?',
  'base64 for URLs': '--__'.repeat(8),
  'base64 without its padding': KEY.replace('=', ''),
  'two lines': `${KEY}\n${KEY}\n`,
  'UTF-16, as PowerShell redirects': Buffer.from(KEY, 'utf16le').toString('latin1'),
  'a device connection string': DIRECT,
})) {
  test(`a key file with ${what} is SAS_SECRET_INVALID, and the failure does not quote it`, async () => {
    const failure = await failureOf(text)
    assert.equal(failure.code, 'SAS_SECRET_INVALID', failure.message)
    quotesNothingOf(failure, text)
  })
}

for (const bytes of [16, 31, 33, 64]) {
  test(`in a group a key of ${bytes} bytes was not derived: SAS_GROUP_KEY`, async () => {
    const failure = await failureOf(base64Of(bytes), { enrollment: 'group' })
    assert.equal(failure.code, 'SAS_GROUP_KEY')
    assert.match(failure.message, new RegExp(`${bytes} bytes.*exactly 32`))
    quotesNothingOf(failure, base64Of(bytes))
  })
}

test('in a group a key of 32 bytes is taken: it cannot be told from a derived one', async () => {
  assert.equal((await secretOf(KEY, { enrollment: 'group' })).secret.kind, 'dps')
})

test('a connection string names hub, device and key; the case of its names and of the host does not count', async () => {
  for (const text of [DIRECT, DIRECT.replace('HostName', 'hostname').replace('SharedAccessKey', 'sharedaccesskey')]) {
    const { secret } = await secretOf(`${text};\n`, { as: 'connectionStringFile' })
    assert.ok(secret.kind === 'direct')
    assert.equal(secret.hub, 'old-hub.azure-devices.net')
    assert.equal(secret.deviceId, 'Edge-0042')
    assert.equal(secret.key.export().toString('hex'), KEY_HEX)
  }
})

for (const [what, text] of Object.entries({
  HostName: DIRECT.replace(/HostName=[^;]*;/, ''),
  DeviceId: DIRECT.replace(/DeviceId=[^;]*;/, ''),
  SharedAccessKey: DIRECT.replace(/;SharedAccessKey=.*/, ''),
  'x509=true': 'HostName=h.azure-devices.net;DeviceId=edge-1;x509=true',
  GatewayHostName: `${DIRECT};GatewayHostName=edge-gateway`,
  ModuleId: `${DIRECT};ModuleId=m`,
  'key that is base64': DIRECT.replace(KEY, 'not-base64'),
  'HostName that is no host name': DIRECT.replace('Old-Hub', 'old/hub'),
  'DeviceId that no hub has': DIRECT.replace('Edge-0042', 'edge/0042'),
})) {
  test(`a connection string is refused by name over ${what}`, async () => {
    const failure = await failureOf(text, { as: 'connectionStringFile' })
    assert.equal(failure.code, 'SAS_SECRET_INVALID')
    assert.ok(failure.message.includes(what), failure.message)
    quotesNothingOf(failure, KEY)
  })
}

for (const as of ['keyFile', 'connectionStringFile'] as const) {
  test(`the connection string of a policy as ${as} is SAS_GROUP_KEY`, async () => {
    const text = `HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=${KEY}`
    const failure = await failureOf(text, { as })
    assert.equal(failure.code, 'SAS_GROUP_KEY')
    assert.match(failure.advice, /compute-device-key/)
    quotesNothingOf(failure, KEY)
  })
}

test('a key that others may read is refused with the command that mends it', async () => {
  const { path, read } = await readText(KEY, { mode: 0o644 })
  assert.ok(read instanceof Failure)
  assert.equal(read.code, 'SAS_SECRET_EXPOSED')
  assert.ok(read.message.includes(`chmod 600 ${path}`), read.message)
  quotesNothingOf(read, KEY)
})

test('a key in a folder into which everybody may write is refused with the command that mends it', async () => {
  await using folder = await makeTemporaryFolder()
  const open = join(folder.path, 'open')
  await mkdir(open)
  await chmod(open, 0o777)
  await writeFile(join(open, 'key'), KEY, { mode: 0o600 })
  const failure = await readSasSecret({ keyFile: join(open, 'key'), enrollment: 'group' }, {}).catch(asFailure)
  assert.ok(failure instanceof Failure)
  assert.equal(failure.code, 'SAS_SECRET_EXPOSED')
  assert.ok(failure.message.includes(`chmod o-w ${open}`), failure.message)
})

test('what is missing, a folder, a loop of links or far too large is SAS_SECRET_UNREADABLE', async () => {
  await using folder = await makeTemporaryFolder()
  const at = (name: string) => join(folder.path, name)
  await mkdir(at('folder'), { mode: 0o700 })
  await symlink(at('loop'), at('loop'))
  await writeFile(at('large'), 'A'.repeat(1_000_000), { mode: 0o600 })
  for (const name of ['missing', 'folder', 'loop', 'large']) {
    const failure = await readSasSecret({ keyFile: at(name), enrollment: 'group' }, {}).catch(asFailure)
    assert.ok(failure instanceof Failure, name)
    assert.equal(failure.code, 'SAS_SECRET_UNREADABLE', name)
    assert.ok(failure.message.includes(at(name)), failure.message)
  }
})

test('a systemd credential is found in CREDENTIALS_DIRECTORY, and without that variable the failure says so', async () => {
  await using folder = await makeTemporaryFolder()
  await writeFile(join(folder.path, 'sas-key'), KEY, { mode: 0o400 })
  const source: SasSource = { keyFile: 'credential:sas-key', enrollment: 'group' }
  const environment: Environment = { CREDENTIALS_DIRECTORY: folder.path }
  assert.equal((await readSasSecret(source, environment))?.path, join(folder.path, 'sas-key'))
  assert.deepEqual(secretPaths(source, environment), [join(folder.path, 'sas-key')])
  const failure = await readSasSecret(source, {}).catch(asFailure)
  assert.ok(failure instanceof Failure)
  assert.equal(failure.code, 'SAS_SECRET_UNREADABLE')
  assert.match(failure.message, /credential:sas-key.*LoadCredential=/)
  assert.deepEqual(secretPaths(source, {}), [])
})

const owned = (mode: number, uid = 0, gid = 0): Ownership => ({ mode: 0o100000 | mode, uid, gid })

test('a systemd credential may show the mask of its access list as a right of root’s group, and nothing more', () => {
  const agent = { uid: 990, gid: 991 }
  const exposed = (found: Ownership, isCredential = true) =>
    exposureOfSecret('/c', found, agent, isCredential) !== undefined
  assert.equal(exposed(owned(0o400, 990, 991)), false)
  assert.equal(exposed(owned(0o400)), false)
  assert.equal(exposed(owned(0o440)), false)
  assert.equal(exposed(owned(0o440), false), true)
  assert.equal(exposed(owned(0o440, 0, 50)), true)
  assert.equal(exposed(owned(0o460)), true)
  assert.equal(exposed(owned(0o444)), true)
  assert.equal(exposed(owned(0o440, 1000, 0)), true)
})

/** Nothing that a failure shows has eight characters of the secret in a row. */
function quotesNothingOf(failure: Failure, secret: string): void {
  const shown = `${inspect(failure, { depth: 10 })} ${JSON.stringify(failure.context)} ${failure.advice}`
  const line = secret.trim()
  for (let at = 0; at + 8 <= line.length; at += 1) {
    const part = line.slice(at, at + 8)
    assert.ok(!shown.includes(part) || 'HostName=;DeviceId=;SharedAccessKey='.includes(part), `it quotes ${part}`)
  }
}
