/** The steps of the renewal story: each acts as a fleet tool or an operator would, waits for the cloud, and judges what it shows. */
import type { Device } from './device.ts'
import { isComplete, judgeDelivery, mostSessions } from './judge-record.ts'
import { connected, EST_LIFETIME_S, MANAGED_LIFETIME_S, twinSays, wish } from './renewal-scene.ts'
import type { ReportedAuth, Scene } from './renewal-scene.ts'

/** A SAS device makes a key and a request; both ends of the exchange go over the session that it has. */
export async function certifyOverHub(scene: Scene) {
  const { cloud, check, say, overHub } = scene
  const { registrationId } = overHub
  await connected(scene, overHub, 'sas')
  const version = wish(scene, overHub, { mode: 'x509' })
  await twinSays(scene, overHub, ({ csr }) => csr !== undefined)
  const asked = await invoke(scene, overHub, 'getCsr', {})
  const { csr } = asked.payload as { readonly csr: string }
  const chain = await cloud.authority.signDevice(csr)
  say('signed', `the request of ${registrationId}, fetched by getCsr; the chain goes back by installCertificate`)
  const installed = await invoke(scene, overHub, 'installCertificate', { chain })
  const { mode, lastAttempt } = await twinSays(scene, overHub, (auth) => auth.lastAttempt?.version === version)
  const isActive = installed.status === 200 && mode === 'x509' && lastAttempt?.result === 'active'
  const text = `${registrationId} is on X.509; nobody has touched it, and no server was added`
  return { certifiedOverHub: check('over the hub', isActive, text) }
}

function invoke({ cloud, say }: Scene, { registrationId }: Device, name: string, payload: object) {
  say('you type', `az iot hub invoke-device-method -n contoso -d ${registrationId} --mn ${name}`)
  return cloud.hub.invokeMethod(registrationId, { name, payload, responseTimeoutSeconds: 30 })
}

/** The same without anybody who signs: DPS issues with the registration. */
export async function certifyByDps(scene: Scene) {
  const { cloud, check, byDps } = scene
  await connected(scene, byDps, 'sas')
  const version = wish(scene, byDps, { mode: 'x509' })
  const { mode, lastAttempt, certificate } = await twinSays(
    scene,
    byDps,
    (auth) => auth.lastAttempt?.version === version,
  )
  const type = cloud.hub.identity(byDps.registrationId)?.authentication.type
  const isIssued = certificate?.issuedBy === 'dps' && type === 'certificateAuthority'
  const text = `DPS issued a certificate of ${MANAGED_LIFETIME_S} s with the registration; the identity is ${type}`
  return {
    certifiedByDps: check('by DPS (preview)', mode === 'x509' && lastAttempt?.result === 'active' && isIssued, text),
  }
}

/** DPS answers the next renewal without a certificate: the old one goes on, and the one after it comes. */
export async function refuseOneRenewal(scene: Scene) {
  const { cloud, check, say, byDps } = scene
  const before = await twinSays(scene, byDps, ({ certificate }) => certificate !== undefined)
  cloud.faults.set('issuedChain', 'absent')
  say('trouble', 'from now on DPS assigns without a certificate')
  const refused = await twinSays(scene, byDps, ({ lastAttempt }) => lastAttempt?.code === 'DPS_NO_CERTIFICATE')
  const since = cloud.record.seq()
  await telemetry(scene, byDps, since)
  const isKept = thumbprint(refused) === thumbprint(before) && refused.lastAttempt?.result !== 'active'
  const kept = check('renewal refused', isKept, `${refused.lastAttempt?.code}; the old certificate sends on`)
  cloud.faults.set('issuedChain', 'good')
  const after = await twinSays(
    scene,
    byDps,
    ({ certificate, lastAttempt }) =>
      lastAttempt?.cause === 'renewal' && lastAttempt.result === 'active' && certificate !== undefined,
  )
  const text = 'the next attempt came by itself, with a certificate that DPS issued'
  const isRenewed = thumbprint(after) !== thumbprint(before)
  return { refusedRenewalKeptTheOld: kept, renewedAfterwards: check('renewed after all', isRenewed, text) }
}

const thumbprint = ({ certificate }: ReportedAuth) => certificate?.thumbprintSha256

/** Resolves when this device has sent two messages after `since`. */
async function telemetry({ cloud }: Scene, { registrationId }: Device, since: number): Promise<void> {
  const sent = () =>
    cloud.record
      .events(since)
      .filter((event) => event.kind === 'telemetry' && event.message.deviceId === registrationId)
  await cloud.record.waitFor(() => sent().length >= 2, { withinMs: 30_000, since })
}

/** By password at first, then by the certificate in use. */
export async function enrolAtEst(scene: Scene) {
  const { check, est, byEst } = scene
  await connected(scene, byEst, 'sas')
  const version = wish(scene, byEst, { mode: 'x509' })
  const { certificate } = await twinSays(scene, byEst, (auth) => auth.lastAttempt?.version === version)
  const [first] = est.calls.filter(({ operation }) => operation === 'simpleenroll')
  const isEnrolled = certificate?.issuedBy === 'est' && first?.authorization !== undefined
  const text = `simpleenroll with a password; the certificate lives ${EST_LIFETIME_S} s`
  return { enrolledAtEst: check('EST', isEnrolled, text) }
}

const RENEWALS = 3

export async function renewThreeTimes(scene: Scene) {
  const { check, say, est, byEst } = scene
  const thumbprints = new Set<string>()
  let present = (await twinSays(scene, byEst, ({ certificate }) => certificate !== undefined)).certificate
  for (let count = 1; count <= RENEWALS; count += 1) {
    thumbprints.add(present?.thumbprintSha256 ?? '')
    const { certificate } = await twinSays(
      scene,
      byEst,
      (auth) => auth.lastAttempt?.result === 'active' && !thumbprints.has(thumbprint(auth) ?? ''),
    )
    present = certificate
    say('renewed', `${byEst.registrationId}: renewal ${count}, thumbprint ${present?.thumbprintSha256.slice(0, 16)}…`)
  }
  const again = est.calls.filter(({ operation }) => operation === 'simplereenroll')
  const isByCertificate = again.length >= RENEWALS && again.every(({ shown }) => shown === byEst.registrationId)
  return {
    reenrolledAtEst: check(
      'EST again',
      isByCertificate,
      'simplereenroll by the certificate in use, with a new key each',
    ),
    threeRenewals: check(
      'three renewals',
      thumbprints.size === RENEWALS,
      'by the clock of the certificate, nobody asked',
    ),
  }
}

/** What can be said only of the whole story. */
export function judgeWhole({ cloud, check, overHub, byDps, byEst }: Scene) {
  const events = cloud.record.events()
  const deliveries = [overHub, byDps, byEst].map(({ registrationId }) =>
    judgeDelivery(
      events.filter((event) => event.kind === 'telemetry' && event.message.deviceId === registrationId),
      [],
    ),
  )
  const most = Math.max(
    ...[overHub, byDps, byEst].map(({ registrationId }) => mostSessions(events, cloud.hub.host, registrationId)),
  )
  const samples = deliveries.map(({ samples: count }) => count).join(', ')
  return {
    oneSessionAtATime: check('one session', most === 1, 'the hub never had more than one of a device at a time'),
    nothingLost: check(
      'nothing lost',
      deliveries.every(isComplete),
      `${samples} samples of the three devices, one a second, all of them and in their order`,
    ),
  }
}
