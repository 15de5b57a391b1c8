/** The end of SAS: decided by the twin or by policy, done for good, and told honestly. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { link, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { calm } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { DAY, FALLBACK, HOUR, MINUTE, mark, pass, policyToml, sessionsOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

const atOnce = policyToml(FALLBACK, 'soakSeconds = 0')

function wish({ id }: Actor, auth: Readonly<Record<string, unknown>>): void {
  stage.cloud.hub.patchTwin(id, { desired: { auth } })
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

test('a retirement overwrites the secret before its name goes, and the twin says that SAS is over', async () => {
  await using actor = await kit.bootActor(stage, 'retire-01', { toml: atOnce })
  // Another name of the same file shows what became of its content.
  const shadow = `${actor.sasKeyFile}.shadow`
  await link(actor.sasKeyFile, shadow)
  const { size } = await stat(shadow)
  wish(actor, { sasRetired: true })
  const { sas } = await kit.reported(actor, (auth) => auth.sas.retired)
  assert.equal(await isThere(actor.sasKeyFile), false)
  assert.deepEqual(await readFile(shadow), Buffer.alloc(size))
  assert.equal(sas.available, false)
  assert.equal(Date.parse(sas.retiredAt ?? ''), stage.time.now())
  // The other name is in no reach, and is told of in the twin, in the status and as a warning.
  assert.match(sas.left?.join() ?? '', /another name .*find \/ -xdev -inum/)
  const { auth, warnings } = await actor.agent().status()
  assert.equal(auth.sas?.retirement?.left.length, 1)
  assert.ok(warnings.some(({ code }) => code === 'RETIREMENT_INCOMPLETE'))
  assert.match(await actor.device.read('audit.ndjson'), /"what":"retirement".*"done":true.*"left":1/)
})

test('after a retirement SAS is rejected by name, also after a restart and with a key that is laid down again', async () => {
  await using actor = await kit.bootActor(stage, 'retire-02', { toml: atOnce })
  const since = mark(actor)
  wish(actor, { sasRetired: true })
  await kit.reported(actor, (auth) => auth.sas.retired)
  wish(actor, { mode: 'sas' })
  const rejected = await kit.reported(actor, ({ lastAttempt }) => lastAttempt?.result === 'rejected')
  assert.equal(rejected.lastAttempt?.code, 'AUTH_SAS_RETIRED')
  await actor.agent().stop()
  await stage.sas.writeKey(actor.sasKeyFile, actor.id)
  actor.boot()
  await kit.connected(actor, 'x509')
  // As if the wish to retire had never been: it was for good.
  wish(actor, { mode: null, sasRetired: null })
  wish(actor, { mode: 'sas' })
  const again = await kit.reported(actor, ({ history }) => history.length === 2)
  assert.equal(again.lastAttempt?.code, 'AUTH_SAS_RETIRED')
  assert.deepEqual([again.sas.retired, again.sas.available], [true, false])
  kit.revoke(actor)
  await pass(actor, 12 * HOUR)
  assert.deepEqual([...new Set(sessionsOf(actor, since))], ['x509'])
})

test('until X.509 has proved itself for long enough a retirement waits, and says until when', async () => {
  await using actor = await kit.bootActor(stage, 'retire-03', { toml: policyToml(FALLBACK, 'soakSeconds = 7200') })
  const provenAt = stage.time.now()
  wish(actor, { sasRetired: true })
  const { waiting } = await kit.reported(actor, (auth) => auth.waiting?.code === 'AUTH_NOT_PROVEN_YET')
  assert.equal(Date.parse(waiting?.until ?? ''), provenAt + 2 * HOUR)
  await pass(actor, 2 * HOUR - 5 * MINUTE)
  assert.equal(await isThere(actor.sasKeyFile), true)
  assert.ok(await pass(actor, 10 * MINUTE, () => kit.twinOf(actor).auth?.sas.retired === true))
  assert.equal(await isThere(actor.sasKeyFile), false)
})

test('a device on SAS, by a wish or by a fallback, keeps its secret until X.509 has proved itself', async () => {
  await using fallen = await kit.bootActor(stage, 'retire-04', { toml: atOnce })
  const since = mark(fallen)
  kit.revoke(fallen)
  await untilSession(fallen, 'sas', since)
  wish(fallen, { sasRetired: true })
  await pass(fallen, 30 * MINUTE)
  assert.equal(await isThere(fallen.sasKeyFile), true)
  assert.match(kit.twinOf(fallen).auth?.waiting?.reason ?? '', /fallen back/)
  kit.restore(fallen)
  await untilSession(fallen, 'x509', since)
  assert.ok(await pass(fallen, HOUR, () => kit.twinOf(fallen).auth?.sas.retired === true))

  await using wished = await kit.bootActor(stage, 'retire-05', { toml: atOnce })
  wish(wished, { mode: 'sas', sasRetired: true })
  await kit.reported(wished, ({ mode }) => mode === 'sas')
  await pass(wished, 30 * MINUTE)
  assert.equal(await isThere(wished.sasKeyFile), true)
  assert.match(kit.twinOf(wished).auth?.waiting?.reason ?? '', /not on X\.509/)
})

test('a copy that systemd holds is out of reach, and is named with what has to be removed', async () => {
  await using actor = await kit.makeActor(stage, 'retire-06', {
    toml: atOnce,
    environment: { IOT_AGENT_SAS_KEY_FILE: 'credential:sas.key' },
  })
  const folder = join(stage.folder, 'credentials-of-retire-06')
  await mkdir(folder, { mode: 0o700 })
  const copy = await stage.sas.writeKey(join(folder, 'sas.key'), actor.id)
  using _environment = withCredentials(folder)
  actor.boot()
  await kit.connected(actor, 'x509')
  wish(actor, { sasRetired: true })
  const { sas } = await kit.reported(actor, (auth) => auth.sas.retired)
  assert.match(sas.left?.[0] ?? '', /copy that systemd holds .*LoadCredential=sas\.key/)
  assert.equal(sas.available, false)
  assert.equal(await isThere(copy), true)
  // Still there, and yet not used: not by a wish, and not at the next start.
  await actor.agent().stop()
  actor.boot()
  wish(actor, { mode: 'sas' })
  const { lastAttempt } = await kit.reported(actor, (auth) => auth.lastAttempt?.result === 'rejected')
  assert.equal(lastAttempt?.code, 'AUTH_SAS_RETIRED')
  const text = (await actor.device.run('status')).stdout
  assert.match(text, /systemd holds/)
})

test('a retirement that is cut off after it was decided is finished at the next start, and no start does it twice', async () => {
  await using actor = await kit.bootActor(stage, 'retire-07', { toml: atOnce })
  wish(actor, { sasRetired: true })
  await kit.reported(actor, (auth) => auth.sas.retired)
  await actor.agent().stop()
  // As if the power had gone between the record and the first look at the file.
  const path = join(actor.device.stateDir, 'credentials', 'journal.json')
  const record = JSON.parse(await readFile(path, 'utf8')) as { memory: { retirement: { atMs: number } } }
  const { atMs } = record.memory.retirement
  const begun = { ...record, memory: { ...record.memory, retirement: { atMs, done: false, left: [] } } }
  await writeFile(`${path}.new`, JSON.stringify(begun), { mode: 0o600 })
  await rename(`${path}.new`, path)
  await stage.sas.writeKey(actor.sasKeyFile, actor.id)
  const since = mark(actor)
  actor.boot()
  await kit.connected(actor, 'x509')
  assert.ok(await pass(actor, MINUTE, () => !existsSync(actor.sasKeyFile)))
  const { sas } = await kit.reported(actor, (auth) => auth.sas.retired && !auth.sas.available)
  assert.equal(Date.parse(sas.retiredAt ?? ''), atMs)

  await actor.agent().stop()
  const audit = await actor.device.read('audit.ndjson')
  actor.boot()
  await kit.connected(actor, 'x509')
  await pass(actor, HOUR)
  assert.equal(await actor.device.read('audit.ndjson'), audit)
  assert.deepEqual([...new Set(sessionsOf(actor, since))], ['x509'])
})

test('a policy that retires SAS by itself does so after its days of proven X.509, and a fallback begins them anew', async () => {
  const afterADay = policyToml({ ...FALLBACK, retireAfterDays: '1' }, 'soakSeconds = 0')
  await using actor = await kit.bootActor(stage, 'retire-08', { toml: afterADay })
  const since = mark(actor)
  await pass(actor, 12 * HOUR)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  kit.restore(actor)
  const back = mark(actor)
  await untilSession(actor, 'x509', back)
  const provenAt = stage.time.now()
  await pass(actor, DAY - 10 * MINUTE)
  assert.equal(await isThere(actor.sasKeyFile), true)
  assert.ok(await pass(actor, 15 * MINUTE, () => kit.twinOf(actor).auth?.sas.retired === true))
  assert.equal(await isThere(actor.sasKeyFile), false)
  assert.ok(stage.time.now() - provenAt >= DAY)
})

/** Where systemd lays the credentials of this process, until the end of the block. */
function withCredentials(folder: string): Disposable {
  process.env['CREDENTIALS_DIRECTORY'] = folder
  return {
    [Symbol.dispose]() {
      delete process.env['CREDENTIALS_DIRECTORY']
    },
  }
}
