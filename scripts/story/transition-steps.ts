/** The steps of the transition story. Each acts as a technician would, waits for the cloud, and judges what it recorded. */
import { existsSync } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeRoot } from '../../test/kit/openssl.ts'
import { areStamped, brief, connected, GROUPS, registered, signRequest } from './transition-scene.ts'
import { takenThumbprint, twinSays, wish } from './transition-scene.ts'
import type { Scene } from './transition-scene.ts'
import { REGISTRATION_ID, shorten } from './words.ts'

const DPS = '--dps-name contoso-dps'

/** A device that has nothing but its SAS secret registers and sends. */
export async function beBornOnSas(scene: Scene) {
  const { device, say, check, secretFile, folder } = scene
  const mode = (await stat(secretFile)).mode.toString(8).slice(-4)
  say(
    'you type',
    `az iot dps enrollment-group compute-device-key ${DPS} --eid ${GROUPS.sas} --rid ${REGISTRATION_ID} -o tsv`,
  )
  say('secret', `the key of this device, and of no other, in ${shorten(secretFile, folder)}, mode ${mode}`)
  say(
    'rules',
    'back to SAS after two refusals that only the cloud can have given, X.509 again after 5 s; the defaults take hours',
  )
  device.start()
  const assigned = await registered(scene, 'sas', 0)
  const session = await connected(scene, 'sas', assigned.seq)
  const isStamped = await areStamped(scene, 'sas', session.seq)
  const isFirst = takenThumbprint(scene) === undefined && mode === '0600'
  const text = `assigned through ${assigned.enrollment}, messages stamped sas`
  return { bornOnSas: check('born on SAS', isStamped && isFirst, text) }
}

/** One desired property; the certificate comes from the fleet's script. */
export async function moveToX509(scene: Scene) {
  const { cloud, check, say } = scene
  const since = cloud.record.seq()
  const version = wish(scene, { mode: 'x509' })
  const thumbprint = await signRequest(scene, (csr) => cloud.authority.signDevice(csr))
  say(
    'signed',
    `a script signed requests/${REGISTRATION_ID}.csr into issued/${REGISTRATION_ID}.pem: ${brief(thumbprint)}`,
  )
  const assigned = await registered(scene, 'x509', since)
  const session = await connected(scene, 'x509', assigned.seq)
  const isStamped = await areStamped(scene, 'x509', session.seq)
  const { mode, lastAttempt } = await twinSays(scene, (auth) => auth.lastAttempt?.version === version)
  const isActive = mode === 'x509' && lastAttempt?.to === 'x509' && lastAttempt.result === 'active'
  const isProven = session.thumbprint === thumbprint && takenThumbprint(scene) === thumbprint
  return {
    thumbprint,
    movedToX509: check(
      'moved to X.509',
      isStamped && isActive,
      `messages stamped x509; the twin says ${lastAttempt?.result} for version ${lastAttempt?.version}`,
    ),
    provenByThumbprint: check(
      'proven',
      isProven,
      `connected by ${brief(session.thumbprint)}, and the hub takes no other`,
    ),
  }
}

/** The power goes and comes back. It also ends the minute in which DPS would not be asked once more. */
export async function losePower(scene: Scene, thumbprint: string) {
  const { cloud, device, check } = scene
  await device.losePower()
  const cutMs = Date.now()
  const since = cloud.record.seq()
  device.start()
  const session = await connected(scene, 'x509', since)
  const isStamped = await areStamped(scene, 'x509', session.seq)
  const asked = cloud.record.events(since).some((event) => event.kind === 'registered')
  return {
    cutMs,
    survivedPowerCut: check(
      'power cut',
      isStamped && !asked && session.thumbprint === thumbprint,
      `killed and started again: connected by ${brief(session.thumbprint)}, without DPS`,
    ),
  }
}

/** Hub and DPS refuse the certificate, each inside a TLS channel that nobody on the way can forge. */
export async function fallBack(scene: Scene) {
  const { cloud, check, say } = scene
  const since = cloud.record.seq()
  say('you type', `az iot dps enrollment-group update ${DPS} --eid ${GROUPS.x509} --provisioning-status disabled`)
  cloud.disableGroup(GROUPS.x509)
  const zeros = '$(printf %064d 0)'
  say('you type', `az iot hub device-identity update -n contoso -d ${REGISTRATION_ID} --ptp ${zeros} --stp ${zeros}`)
  revokeAtHub(scene)
  const assigned = await registered(scene, 'sas', since)
  const session = await connected(scene, 'sas', assigned.seq)
  const isStamped = await areStamped(scene, 'sas', session.seq)
  const refusals = cloud.record.events(since).filter((event) => event.kind === 'refused' && event.seq < assigned.seq)
  const hosts = new Set(refusals.map(({ host }) => host))
  const isRefused = hosts.has(cloud.hub.host) && hosts.has(cloud.dps.host)
  const { mode, fallback, lastAttempt } = await twinSays(scene, (auth) => auth.fallback?.active === true)
  const isSaid = mode === 'sas' && lastAttempt?.cause === 'fallback' && fallback?.cause === 'DPS_UNAUTHORIZED'
  return {
    fellBackToSas: check(
      'fell back to SAS',
      isStamped && isRefused,
      `refused by hub and DPS, assigned through ${assigned.enrollment}, messages stamped sas`,
    ),
    causeInTwin: check('cause', isSaid, `the twin says fallback.active, cause ${fallback?.cause}`),
  }
}

const NOBODY = '0'.repeat(64)

/** The identity has the thumbprint of nobody from now on; its twin stays. */
function revokeAtHub({ cloud }: Scene): void {
  const identity = cloud.hub.identity(REGISTRATION_ID)
  if (identity === undefined) throw new Error(`the hub has no ${REGISTRATION_ID}`)
  const x509Thumbprint = { primaryThumbprint: NOBODY, secondaryThumbprint: NOBODY }
  cloud.hub.putIdentity({ ...identity, authentication: { ...identity.authentication, x509Thumbprint } })
}

/** The device tries X.509 again by itself. */
export async function comeBack(scene: Scene, thumbprint: string) {
  const { cloud, check, say } = scene
  const since = cloud.record.seq()
  say('you type', `az iot dps enrollment-group update ${DPS} --eid ${GROUPS.x509} --provisioning-status enabled`)
  cloud.enableGroup(GROUPS.x509)
  const assigned = await registered(scene, 'x509', since)
  const session = await connected(scene, 'x509', assigned.seq)
  const isStamped = await areStamped(scene, 'x509', session.seq)
  const { mode, lastAttempt } = await twinSays(scene, (auth) => auth.fallback?.active === false)
  const isSaid = mode === 'x509' && lastAttempt?.cause === 'return' && lastAttempt.result === 'active'
  const text = `by itself, connected by ${brief(session.thumbprint)}, messages stamped x509`
  const isBack = isStamped && isSaid && session.thumbprint === thumbprint
  return { returnedToX509: check('back on X.509', isBack, text) }
}

/** A new certificate is wished, and signed by an authority that nobody enrolled. */
export async function rollBackBadAuthority(scene: Scene, thumbprint: string) {
  const { cloud, check, say } = scene
  const since = cloud.record.seq()
  const version = wish(scene, { renew: '2026-rollover' })
  const bad = await signRequest(scene, await makeBadAuthority(scene))
  say('signed', `by an authority that DPS does not know: ${brief(bad)}`)
  const assigned = await registered(scene, 'x509', since)
  const session = await connected(scene, 'x509', assigned.seq)
  const isStamped = await areStamped(scene, 'x509', session.seq)
  const { lastAttempt } = await twinSays(scene, (auth) => auth.lastAttempt?.version === version)
  const events = cloud.record.events(since)
  const refusal = events.find((event) => event.kind === 'refused' && event.host === cloud.dps.host)
  const wasLetIn = events.some(
    (event) => event.kind === 'connected' && event.host === cloud.hub.host && event.thumbprint === bad,
  )
  const isBack = session.thumbprint === thumbprint && takenThumbprint(scene) === thumbprint
  const { result = 'nothing', code, reason = '' } = lastAttempt ?? {}
  const outcome = {
    badAuthorityRolledBack: check(
      'rolled back',
      isStamped && isBack && !wasLetIn && refusal !== undefined && refusal.seq < assigned.seq,
      `DPS refused it; registered again and connected by ${brief(session.thumbprint)}, by itself`,
    ),
    reasonInTwin: check(
      'reason',
      result === 'rolledBack' && code === 'DPS_UNAUTHORIZED' && reason.length > 0,
      `the twin says ${result} for version ${version}, ${code}: ${reason}`,
    ),
  }
  // Until the wish is taken back, the device would try it again by itself, and with each new version of the twin at once.
  wish(scene, { renew: null })
  await twinSays(scene, (auth) => auth.requested?.renew === undefined)
  return outcome
}

async function makeBadAuthority({ folder }: Scene): Promise<(csr: string) => Promise<string>> {
  const place = join(folder, 'bad-authority')
  await mkdir(place)
  const root = await makeRoot(place, 'Somebody Else')
  const intermediate = await root.makeIntermediate('Somebody Else Devices')
  return async (csr) => (await intermediate.sign(csr)) + intermediate.certificatePem
}

/** The end of SAS on this device. */
export async function retireSas(scene: Scene) {
  const { check, secretFile, folder } = scene
  wish(scene, { sasRetired: true })
  const { mode, sas } = await twinSays(scene, (auth) => auth.sas?.retired === true)
  const isGone = !existsSync(secretFile) && sas?.available !== true
  const text = `${shorten(secretFile, folder)} is gone; the twin says sas.retired`
  return { sasRetired: check('SAS retired', isGone && mode === 'x509', text) }
}

/** Nobody brings it back: not even the twin. */
export async function refuseSas(scene: Scene) {
  const { cloud, check } = scene
  const since = cloud.record.seq()
  const version = wish(scene, { mode: 'sas' })
  const { mode, lastAttempt } = await twinSays(scene, (auth) => auth.lastAttempt?.version === version)
  const isStamped = await areStamped(scene, 'x509', since, 1)
  const tried = cloud.record.events(since).some((event) => event.kind === 'registered' || event.kind === 'connected')
  const { result, code, reason } = lastAttempt ?? {}
  const isRejected = mode === 'x509' && result === 'rejected' && code === 'AUTH_SAS_RETIRED'
  const text = `the twin says ${result}, ${code}: ${reason}`
  return { sasRejectedAfterwards: check('SAS rejected', isRejected && isStamped && !tried, text) }
}
