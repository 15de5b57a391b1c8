/**
 * The main job as a story: `node scripts/story/demo.ts [--messages N] [--json]`.
 *
 * The cloud is the stand-in, in this process; the agent is the built program, as a process of its own. What is claimed at
 * the end is computed from what the stand-in recorded and from what is on disk. Exit 0 only if all of it held.
 */
import { X509Certificate } from 'node:crypto'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startCloud } from '../../test/cloud/cloud.ts'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { RecordedEvent } from '../../test/cloud/record.ts'
import { holdsKey, keyForms } from '../../test/kit/leak.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder } from '../../test/kit/openssl.ts'
import { filesBelow, makeDevice } from './device.ts'
import type { Device } from './device.ts'

const REGISTRATION_ID = 'press-07'

/** Time for any one step before the story is called failed; DPS alone asks for two waits of 3 s. */
const STEP_MS = 60_000

interface Result {
  readonly ok: boolean
  readonly deviceId: string
  readonly registrationId: string
  readonly assignedHub: string
  readonly authType: string
  readonly messagesAcked: number
  /** From the start of the agent's process to its first message in the cloud, the signing of the CSR included. */
  readonly firstAckMs: number
  readonly keyFile: string
  readonly keyMode: string
  readonly keyLeaked: boolean
}

const { values: given } = parseArgs({
  options: { messages: { type: 'string', default: '5' }, json: { type: 'boolean', default: false } },
})
const messages = Number(given.messages)
if (!Number.isInteger(messages) || messages < 1)
  throw new RangeError(`--messages is a whole number from 1, not ${given.messages}`)

const startedAt = performance.now()
/** The steps that did not hold. */
const failed: string[] = []
await using folder = await makeTemporaryFolder()
say('authority', 'making a root and an intermediate with openssl (RSA 4096, AES-256), as the migration tutorial does')
await using cloud = await startCloud({ authority: 'tutorial' })
cloud.enrollFleet()
say(
  'cloud',
  `DPS ${cloud.dpsAddress} with an X.509 enrollment group; hubs ${cloud.hubs.map((hub) => hub.host).join(', ')}`,
)

const device = await deviceIn(cloud, 'device', REGISTRATION_ID)
try {
  const result = await tellStory(cloud, device)
  if (given.json) console.log(JSON.stringify(result))
  process.exitCode = result.ok ? 0 : 1
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error)
  say('FAILED', `${reason}\nthe agent said:\n${device.said()}`)
  if (given.json) console.log(JSON.stringify({ ok: false, registrationId: REGISTRATION_ID, reason }))
  process.exitCode = 1
} finally {
  device.kill()
}

async function tellStory(cloud: Cloud, device: Device): Promise<Result> {
  const before = await filesBelow(device.stateDir)
  check('no key', before.size === 0, `the state folder of ${REGISTRATION_ID} is empty`)

  const from = performance.now()
  device.start()
  const waiting = await device.heard((line) => line.msg === 'waiting for a certificate')
  say('key', `${String(waiting['keyKind'])} key and CSR made on the device, in ${shorten(String(waiting['keyFile']))}`)

  const csr = await device.run('csr')
  check('request', csr.status === 0, `CSR of ${REGISTRATION_ID}, ${csr.stdout.length} bytes of PEM; the key stays`)
  const chain = await sign(cloud, csr.stdout, 'chain.pem')
  say('signed', 'the intermediate signed the CSR for 90 days')

  const stranger = await makeStranger()
  const wrongChain = await device.run('install-certificate', stranger.chainFile)
  check(
    'wrong chain',
    wrongChain.status === 1 && wrongChain.stderr.startsWith('CHAIN_KEY_MISMATCH'),
    firstLine(wrongChain.stderr),
  )
  const installed = await device.run('install-certificate', chain)
  check('chain', installed.status === 0, 'key, name, dates, purpose and every link checked')

  const registered = await seen(cloud, 'registered', (event) => event.registrationId === REGISTRATION_ID)
  say('assigned', `DPS assigned ${registered.assignedHub} through ${registered.enrollment}`)
  const connected = await seen(
    cloud,
    'connected',
    (event) => event.host !== cloud.dps.host && event.clientId === REGISTRATION_ID,
  )
  say('connected', `${connected.host} by ${connected.auth}, thumbprint ${connected.thumbprint.slice(0, 16)}…`)

  const first = await nthMessage(cloud, 1)
  const firstAckMs = Math.round(performance.now() - from)
  say('telemetry', first.message.body.toString())
  await nthMessage(cloud, messages)
  say('telemetry', `${messages} messages in the cloud, the first after ${firstAckMs} ms`)

  await changeInterval(cloud, registered.assignedHub)
  await refuseAtDps(cloud, stranger)

  const keyFile = keyFileOf(device)
  const leaked = await findLeak(cloud, device, keyFile)
  const keyMode = (await stat(keyFile)).mode.toString(8).slice(-4)
  check(
    'key stays',
    !leaked,
    `${keyMode} ${shorten(keyFile)}: searched for in ${cloud.received().length} bytes that the cloud received, the log, the process and every file outside the vault`,
  )

  const { tookMs, status } = await device.stop()
  const ended = await seen(
    cloud,
    'disconnected',
    (event) => event.host === connected.host && event.clientId === REGISTRATION_ID,
  )
  const acknowledged = Number((await lastLine(device))['acknowledged'])
  check('stopped', status === 0 && tookMs < 2000, `in ${tookMs} ms; the hub saw: ${ended.reason}`)

  const stamp = JSON.parse(first.message.system['iothub-connection-auth-method'] ?? '{}') as { type?: string }
  const proven = connected.thumbprint === thumbprintOf(await filesBelow(device.stateDir))
  check('proof', stamp.type === 'x509' && proven, `each message bears the stamp of the hub: ${JSON.stringify(stamp)}`)
  say('done', `in ${Math.round((performance.now() - startedAt) / 1000)} s`)
  return {
    ok: failed.length === 0,
    deviceId: first.message.deviceId,
    registrationId: registered.registrationId,
    assignedHub: registered.assignedHub,
    authType: stamp.type ?? 'none',
    messagesAcked: acknowledged,
    firstAckMs,
    keyFile,
    keyMode,
    keyLeaked: leaked,
  }
}

/** The service side wishes another interval; the device answers with what applies now. */
async function changeInterval(cloud: Cloud, assignedHub: string): Promise<void> {
  const hub = cloud.hubs.find((each) => assignedHub.startsWith(each.host)) ?? cloud.hub
  const { desiredVersion } = hub.patchTwin(REGISTRATION_ID, { desired: { telemetry: { intervalSeconds: 2 } } })
  const reported = await seen(cloud, 'reported', (event) => answerOf(event)?.['av'] === desiredVersion)
  const { value, ac } = answerOf(reported) ?? {}
  check(
    'twin',
    value === 2 && ac === 200,
    `desired interval 2 s, version ${desiredVersion}; the device answered ${JSON.stringify(answerOf(reported))}`,
  )
}

/** What the device said to the wish, in the form of IoT Plug and Play. */
function answerOf(event: { readonly patch: Record<string, unknown> }): Record<string, unknown> | undefined {
  return (event.patch['telemetry'] as { intervalSeconds?: Record<string, unknown> } | undefined)?.intervalSeconds
}

interface Stranger {
  readonly keyFile: string
  readonly chainFile: string
}

/** A certificate of the right name from an authority that nobody enrolled. */
async function makeStranger(): Promise<Stranger> {
  const place = join(folder.path, 'stranger')
  await mkdir(place)
  const authority = await makeRoot(place, 'Somebody Else')
  const keyFile = await makeKey(join(place, 'stranger.key'))
  const chainFile = join(place, 'stranger.pem')
  await writeFile(chainFile, await authority.sign(await makeRequest(keyFile, `/CN=${REGISTRATION_ID}`)))
  return { keyFile, chainFile }
}

/** A second device comes with that certificate, as a cloned or forged one would. */
async function refuseAtDps(cloud: Cloud, stranger: Stranger): Promise<void> {
  const forged = await deviceIn(cloud, 'forged', REGISTRATION_ID, {
    CERT_PATH: stranger.chainFile,
    KEY_PATH: stranger.keyFile,
  })
  try {
    forged.start()
    const line = await forged.heard((said) => said['code'] !== undefined && said['event'] === 'not connected')
    const status = await forged.run('status')
    const refused = cloud.record.events().find((event) => event.kind === 'refused' && event.host === cloud.dps.host)
    const named = line['code'] === 'DPS_UNAUTHORIZED' && status.status === 1 && refused !== undefined
    check('wrong certificate', named, `${String(line['code'])}: ${line.msg}`)
  } finally {
    await forged.stop()
  }
}

async function deviceIn(cloud: Cloud, name: string, registrationId: string, environment = {}): Promise<Device> {
  const place = join(folder.path, name)
  await mkdir(join(place, 'etc'), { recursive: true })
  return makeDevice({ cloud, folder: place, registrationId, environment })
}

async function sign(cloud: Cloud, csrPem: string, name: string): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, await cloud.authority.signDevice(csrPem))
  return path
}

/** Whether the key is anywhere but in its file. That the search works is shown on the file itself. */
async function findLeak(cloud: Cloud, device: Device, keyFile: string): Promise<boolean> {
  const files = await filesBelow(folder.path)
  const key = files.get(keyFile)
  if (key === undefined) throw new Error(`there is no key in ${keyFile}`)
  const forms = keyForms(key.toString())
  if (!holdsKey(forms, key)) throw new Error('the search does not find the key where it is')
  const outside = [...files].filter(([path]) => path !== keyFile).map(([, content]) => content)
  return [cloud.received(), Buffer.from(device.said()), await device.processMemory(), ...outside].some((place) =>
    holdsKey(forms, place),
  )
}

function keyFileOf(device: Device): string {
  return join(device.stateDir, 'credentials', 'gen-0001', 'key.pem')
}

function thumbprintOf(files: ReadonlyMap<string, Buffer>): string {
  const chain = [...files].find(([path]) => path.endsWith('gen-0001/chain.pem'))?.[1] ?? Buffer.alloc(0)
  return new X509Certificate(chain).fingerprint256.replaceAll(':', '')
}

async function seen<K extends RecordedEvent['kind']>(
  cloud: Cloud,
  kind: K,
  fits: (event: Extract<RecordedEvent, { kind: K }>) => boolean,
): Promise<Extract<RecordedEvent, { kind: K }>> {
  const isIt = (event: RecordedEvent): event is Extract<RecordedEvent, { kind: K }> =>
    event.kind === kind && fits(event as Extract<RecordedEvent, { kind: K }>)
  const event = await cloud.record.waitFor(isIt, { withinMs: STEP_MS })
  return event as Extract<RecordedEvent, { kind: K }>
}

function nthMessage(cloud: Cloud, n: number): Promise<Extract<RecordedEvent, { kind: 'telemetry' }>> {
  return seen(cloud, 'telemetry', () => cloud.record.count('telemetry') >= n)
}

async function lastLine(device: Device): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse(device.said().trim().split('\n').at(-1) ?? '{}') as Readonly<Record<string, unknown>>
}

function check(step: string, held: boolean, text: string): void {
  if (!held) failed.push(step)
  say(held ? step : `FAILED ${step}`, text)
}

function say(step: string, text: string): void {
  console.log(`${step.padEnd(18)} ${text}`)
}

function shorten(path: string): string {
  return path.replace(folder.path, '')
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}
