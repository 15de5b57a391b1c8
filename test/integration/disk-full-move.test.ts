/** A disk that has no room any more, or is read-only, from one durable write of a move on. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Status } from '../../agent/control/status.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { followDisk } from '../kit/disk-steps.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { atHub, eventsOf, settled, startFleetCloud } from './agent-kit.ts'

const ID = 'no-room'
const clock = createFakeClock(Date.now())

let cloud: Cloud
let device: Device
let agent: BootedAgent
let stop: () => Promise<void>
/** The disk fails from this write on, as `state/credentials/active`; and with what. */
let failing: { readonly from: string; readonly code: string } | undefined
let fails = false

before(async () => {
  cloud = await startFleetCloud()
  const folder = await makeTemporaryFolder()
  const keyFile = join(folder.path, 'secrets', 'sas.key')
  device = await makeDevice(cloud, {
    registrationId: ID,
    folder: folder.path,
    toml: '[auth]\nmovesPerDay = 96\n',
    environment: { IOT_AGENT_SAS_KEY_FILE: keyFile },
  })
  await mkdir(join(folder.path, 'secrets'), { mode: 0o700 })
  await cloud.enrollSasFleet().writeKey(keyFile, ID)
  await keepCertificate()
  const release = await followDisk(folder.path, ({ at, name }) => {
    if (failing === undefined || at === 'after') return
    fails ||= name === failing.from
    if (fails) throw Object.assign(new Error(`${failing.code}: ${name}`), { code: failing.code })
  })
  agent = device.boot({ clock })
  await settled(cloud, agent, ID)
  stop = async () => {
    release()
    await device[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
    await cloud.close()
  }
})
after(() => stop())

const journal = (phase: string) => `state/credentials/journal.json ${phase}`

type Lane = 'sas' | 'x509'

/** The durable writes of a move, in order. */
const writes = (to: Lane): readonly string[] => [
  journal('preparing'),
  journal('registering'),
  `state/assignment${to === 'sas' ? '-sas' : ''}.json`,
  journal('proving'),
  journal('committing'),
  'state/credentials/active',
  journal('steady'),
]

/** What a start at this moment would begin with. */
function phaseOnDisk(): string {
  const text = readFileSync(join(device.stateDir, 'credentials', 'journal.json'), 'utf8')
  return (JSON.parse(text) as { readonly lifecycle: { readonly phase: string } }).lifecycle.phase
}

test('a disk that fails at any write of a move cuts nobody off, and the wish is followed once it works', async (t) => {
  let lane: Lane = 'sas'
  for (const code of ['ENOSPC', 'EROFS'] as const)
    for (const [index] of writes(lane).entries()) {
      const to: Lane = lane === 'sas' ? 'x509' : 'sas'
      const from = writes(to)[index] ?? ''
      await t.test(`${lane} → ${to}, ${code} from ${from} on`, () => failingMove({ from, code }, to, index < 2))
      lane = to
    }
})

async function failingMove(how: NonNullable<typeof failing>, to: Lane, isUnregistered: boolean): Promise<void> {
  const told = agent.journal.follow()
  const registered: string[] = []
  const forget = cloud.record.listen(({ kind }) => {
    if (kind === 'registered') registered.push(phaseOnDisk())
  })
  failing = how
  cloud.hub.patchTwin(ID, { desired: { auth: { mode: to } } })
  await told.next(how.code === 'ENOSPC' ? 'DISK_FULL' : 'STATE_UNWRITABLE')
  const status = await agent.until(({ connection, auth }) =>
    isUnregistered ? auth.state === 'preparing' : connection.state === 'connected' && auth.mode === to,
  )
  assert.equal(status.connection.state, 'connected')
  assert.deepEqual(registered, isUnregistered ? [] : ['registering'])

  failing = undefined
  fails = false
  // The next look at whatever hangs on time.
  await clock.advance(5_000)
  await agent.until(({ auth, connection }) => isOn(to, auth) && connection.state === 'connected')
  await eventually(async () => (phaseOnDisk() === 'steady' ? true : undefined))
  assert.equal((await device.read('credentials/active')).trimEnd(), to === 'sas' ? 'sas' : 'gen-0001')
  assert.deepEqual(registered, ['registering'], 'the registration was on record, and there was one')
  assert.equal(eventsOf(cloud, 'connected', ID).findLast(atHub(cloud))?.auth, to)
  forget()
}

function isOn(lane: Lane, { state, mode, history = [] }: Status['auth']): boolean {
  return state === 'active' && mode === lane && history.at(-1)?.result === 'active'
}

/** Lays a certificate into the vault, for the moves to it. */
async function keepCertificate(): Promise<void> {
  const { keyPem, chainPem } = await cloud.authority.makeDevice(ID)
  const generation = join(device.stateDir, 'credentials', 'gen-0001')
  await mkdir(generation, { recursive: true, mode: 0o700 })
  await writeFile(join(generation, 'key.pem'), keyPem, { mode: 0o600 })
  await writeFile(join(generation, 'chain.pem'), chainPem, { mode: 0o600 })
}
