/** Records that are torn, of another version or tampered with: the device lives on with a credential that works, and says so. */
import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { calm, eventsOf } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { HOUR, MINUTE, mark, pass, sessionsOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

const vaultOf = ({ device }: Actor) => join(device.stateDir, 'credentials')
const journalOf = (actor: Actor) => join(vaultOf(actor), 'journal.json')
const pointerOf = (actor: Actor) => join(vaultOf(actor), 'active')

const tears: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'is empty': (path) => truncate(path, 0),
  'was cut off': (path) => truncate(path, 40),
  'is not text': (path) => writeFile(path, Buffer.from([0, 255, 1, 254])),
  'is of a later version': async (path) => {
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace('"version": 1', '"version": 2'))
  },
}

async function asideIn(actor: Actor, name: string): Promise<boolean> {
  return (await readdir(vaultOf(actor))).some((entry) => entry.startsWith(`${name}.unreadable-`))
}

for (const [how, tear] of Object.entries(tears)) {
  const number = Object.keys(tears).indexOf(how)

  test(`a journal that ${how} is set aside and told of, and the device goes on with what the pointer names`, async () => {
    await using actor = await kit.bootActor(stage, `journal-${number}`)
    await actor.agent().stop()
    await tear(journalOf(actor))
    const since = mark(actor)
    actor.boot()
    await kit.connected(actor, 'x509')
    assert.match((await actor.agent().journal.heard('JOURNAL_TORN')).msg, /journal\.json/)
    assert.equal(await asideIn(actor, 'journal.json'), true)
    assert.deepEqual(sessionsOf(actor, since), ['x509'])
    assert.deepEqual(eventsOf(stage.cloud, 'registered', actor.id, since), [], 'nothing had to be proved anew')
    // The new record is as good as the old one: nothing is said at the next start.
    await actor.agent().stop()
    actor.boot()
    await kit.connected(actor, 'x509')
    assert.ok(!actor.agent().journal.text().includes('JOURNAL_TORN'))
  })
}

test('a journal that is torn while the device is on SAS leaves it on SAS, as a fallback that ends by itself', async () => {
  await using actor = await kit.bootActor(stage, 'journal-sas')
  const since = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  await actor.agent().stop()
  await truncate(journalOf(actor), 40)
  const torn = mark(actor)
  actor.boot()
  await kit.connected(actor, 'sas')
  const { fallback } = await kit.reported(actor, (auth) => auth.fallback.cause === 'JOURNAL_TORN')
  assert.equal(fallback.active, true)
  assert.ok(kit.twinOf(actor).warnings?.some(({ code }) => code === 'FALLEN_BACK_TO_SAS'))
  kit.restore({ stage })
  await untilSession(actor, 'x509', torn)
  assert.equal(sessionsOf(actor, torn)[0], 'sas')
  await kit.reported(actor, (auth) => !auth.fallback.active)
})

test('a torn pointer is set aside, and the journal says with which generation to go on', async () => {
  await using actor = await kit.bootActor(stage, 'pointer-01', { certificates: [{}, {}] })
  await actor.agent().stop()
  const thumbprint = kit.twinOf(actor).auth?.certificate?.thumbprintSha256
  await writeFile(pointerOf(actor), 'gen-')
  actor.boot()
  await kit.connected(actor, 'x509')
  assert.match((await actor.agent().journal.heard('STATE_TORN')).msg, /active/)
  assert.equal(kit.twinOf(actor).auth?.certificate?.thumbprintSha256, thumbprint)
  assert.equal(await readFile(pointerOf(actor), 'utf8'), 'gen-0002\n')
})

test('with journal and pointer torn a device goes on with its newest certificate, and never with SAS', async () => {
  await using actor = await kit.bootActor(stage, 'both-torn', { certificates: [{}, {}] })
  await actor.agent().stop()
  await truncate(journalOf(actor), 10)
  await truncate(pointerOf(actor), 0)
  const since = mark(actor)
  actor.boot()
  await kit.connected(actor, 'x509')
  assert.deepEqual(sessionsOf(actor, since), ['x509'])
  assert.equal(await readFile(pointerOf(actor), 'utf8'), 'gen-0002\n')
  await actor.agent().journal.heard('JOURNAL_TORN')
})

test('an audit trail in which a byte was changed is told of in log, status and twin, and costs the device nothing', async () => {
  await using actor = await kit.bootActor(stage, 'audit-01')
  const first = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', first)
  await actor.agent().stop()
  const path = join(actor.device.stateDir, 'audit.ndjson')
  const bytes = await readFile(path)
  const at = bytes.indexOf('fallback')
  bytes[at] = 'F'.charCodeAt(0)
  await writeFile(path, bytes)
  const since = mark(actor)
  actor.boot()
  await kit.connected(actor, 'sas')
  await actor.agent().journal.heard('AUDIT_TAMPERED')
  assert.ok((await actor.agent().status()).warnings.some(({ code }) => code === 'AUDIT_TAMPERED'))
  await kit.reported(actor, (_, { warnings }) => warnings?.some(({ code }) => code === 'AUDIT_TAMPERED') === true)
  assert.match((await actor.device.run('status')).stdout, /AUDIT_TAMPERED/)
  kit.restore({ stage })
  await pass(actor, HOUR + 5 * MINUTE)
  assert.equal(sessionsOf(actor, since).at(-1), 'x509')
})
