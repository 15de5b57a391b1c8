/** The first story: a device makes its key, gets its certificate, registers and sends; and what is refused on the way. */
import { X509Certificate } from 'node:crypto'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startCloud } from '../../test/cloud/cloud.ts'
import type { Cloud } from '../../test/cloud/cloud.ts'
import { holdsKey, keyForms } from '../../test/kit/leak.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder } from '../../test/kit/openssl.ts'
import { filesBelow, makeDevice } from './device.ts'
import type { Device } from './device.ts'
import { makePlace, REGISTRATION_ID, seen, shorten, tellOf } from './words.ts'
import type { EventOf, Telling, Told } from './words.ts'

interface Result extends Told {
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

interface Scene extends Telling {
  readonly folder: string
  readonly cloud: Cloud
  readonly device: Device
  /** Acknowledged messages before the story goes on to its end. */
  readonly messages: number
}

/** @param messages acknowledged messages before the story goes on to its end */
export async function tellFirst(telling: Telling, messages: number): Promise<Told> {
  await using folder = await makeTemporaryFolder()
  telling.say(
    'authority',
    'making a root and an intermediate with openssl (RSA 4096, AES-256), as the migration tutorial does',
  )
  await using cloud = await startCloud({ authority: 'tutorial' })
  cloud.enrollFleet()
  telling.say(
    'cloud',
    `DPS ${cloud.dpsAddress} with an X.509 enrollment group; hubs ${cloud.hubs.map((hub) => hub.host).join(', ')}`,
  )
  const place = await makePlace(folder.path, 'device')
  const device = await makeDevice({ cloud, folder: place, registrationId: REGISTRATION_ID })
  const scene: Scene = { ...telling, folder: folder.path, cloud, device, messages }
  return await tellOf(device, telling, () => live(scene))
}

async function live(scene: Scene): Promise<Result> {
  const { cloud, device, messages, say, check, folder } = scene
  const before = await filesBelow(device.stateDir)
  check('no key', before.size === 0, `the state folder of ${REGISTRATION_ID} is empty`)

  const from = performance.now()
  device.start()
  const waiting = await device.heard((line) => line.msg === 'waiting for a certificate')
  say(
    'key',
    `${String(waiting['keyKind'])} key and CSR made on the device, in ${shorten(String(waiting['keyFile']), folder)}`,
  )

  const csr = await device.run('csr')
  check('request', csr.status === 0, `CSR of ${REGISTRATION_ID}, ${csr.stdout.length} bytes of PEM; the key stays`)
  const chain = await sign(scene, csr.stdout)
  say('signed', 'the intermediate signed the CSR for 90 days')

  const stranger = await makeStranger(folder)
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

  await changeInterval(scene, registered.assignedHub)
  await refuseAtDps(scene, stranger)

  const keyFile = keyFileOf(device)
  const leaked = await findLeak(scene, keyFile)
  const keyMode = (await stat(keyFile)).mode.toString(8).slice(-4)
  check(
    'key stays',
    !leaked,
    `${keyMode} ${shorten(keyFile, folder)}: searched for in ${cloud.received().length} bytes that the cloud received, the log, the process and every file outside the vault`,
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
  say('done', `in ${scene.seconds()} s`)
  return {
    ok: scene.held(),
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
async function changeInterval({ cloud, check }: Scene, assignedHub: string): Promise<void> {
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
async function makeStranger(folder: string): Promise<Stranger> {
  const place = join(folder, 'stranger')
  await mkdir(place)
  const authority = await makeRoot(place, 'Somebody Else')
  const keyFile = await makeKey(join(place, 'stranger.key'))
  const chainFile = join(place, 'stranger.pem')
  await writeFile(chainFile, await authority.sign(await makeRequest(keyFile, `/CN=${REGISTRATION_ID}`)))
  return { keyFile, chainFile }
}

/** A second device comes with that certificate, as a cloned or forged one would. */
async function refuseAtDps({ cloud, folder, check }: Scene, stranger: Stranger): Promise<void> {
  const place = await makePlace(folder, 'forged')
  const environment = { CERT_PATH: stranger.chainFile, KEY_PATH: stranger.keyFile }
  const forged = await makeDevice({ cloud, folder: place, registrationId: REGISTRATION_ID, environment })
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

async function sign({ cloud, folder }: Scene, csrPem: string): Promise<string> {
  const path = join(folder, 'chain.pem')
  await writeFile(path, await cloud.authority.signDevice(csrPem))
  return path
}

/** Whether the key is anywhere but in its file. That the search works is shown on the file itself. */
async function findLeak({ cloud, device, folder }: Scene, keyFile: string): Promise<boolean> {
  const files = await filesBelow(folder)
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

function nthMessage(cloud: Cloud, n: number): Promise<EventOf<'telemetry'>> {
  return seen(cloud, 'telemetry', () => cloud.record.count('telemetry') >= n)
}

async function lastLine(device: Device): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse(device.said().trim().split('\n').at(-1) ?? '{}') as Readonly<Record<string, unknown>>
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}
