/** The second story: from SAS to X.509 and what can happen on the way, told by what the cloud recorded. */
import { startCloud } from '../../test/cloud/cloud.ts'
import { makeTemporaryFolder } from '../../test/kit/openssl.ts'
import { judgeDelivery, isComplete, mostSessions } from './judge-record.ts'
import { searchForSecrets } from './secrets.ts'
import { allEvents, setScene } from './transition-scene.ts'
import type { Scene } from './transition-scene.ts'
import {
  beBornOnSas,
  comeBack,
  fallBack,
  losePower,
  moveToX509,
  refuseSas,
  retireSas,
  rollBackBadAuthority,
} from './transition-steps.ts'
import { REGISTRATION_ID, tellOf } from './words.ts'
import type { Telling, Told } from './words.ts'

/** What the story claims; each is false until it has been seen in the record of the cloud. */
const nothingYet = {
  bornOnSas: false,
  movedToX509: false,
  provenByThumbprint: false,
  survivedPowerCut: false,
  badAuthorityRolledBack: false,
  reasonInTwin: false,
  fellBackToSas: false,
  causeInTwin: false,
  returnedToX509: false,
  sasRetired: false,
  sasRejectedAfterwards: false,
  oneSessionAtATime: false,
  nothingLost: false,
  keyStayed: false,
}

type Claims = { -readonly [Name in keyof typeof nothingYet]: boolean }

interface Result extends Told, Readonly<Claims> {
  readonly seconds: number
  /** Why the story broke off, if it did. */
  readonly reason?: string
}

export async function tellTransition(telling: Telling): Promise<Result> {
  await using folder = await makeTemporaryFolder()
  telling.say('authority', 'making a root and an intermediate with openssl')
  await using cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  // Azure asks for 3 s between two polls of a registration and allows five in 10 s; here are five registrations to watch.
  cloud.faults.set('retryAfterSeconds', 1)
  cloud.faults.set('pollsPerTenSeconds', 0)
  cloud.enrollFleet()
  const sasFleet = cloud.enrollSasFleet()
  telling.say('cloud', `DPS ${cloud.dpsAddress} with a group of keys and one of certificates; hub ${cloud.hub.host}`)
  const scene = await setScene(telling, { cloud, sasFleet, folder: folder.path })
  const claims: Claims = { ...nothingYet }
  const told = await tellOf(scene.device, telling, () => live(scene, claims))
  const seconds = telling.seconds()
  telling.say('done', `in ${seconds} s`)
  return { ...told, ...claims, seconds }
}

/** Fills in the claims as it goes, so that a story that breaks off says how far it came. */
async function live(scene: Scene, claims: Claims): Promise<Told> {
  const secrets = await searchForSecrets(scene)
  Object.assign(claims, await beBornOnSas(scene))
  const { thumbprint, ...moved } = await moveToX509(scene)
  Object.assign(claims, moved)
  const { cutMs, ...survived } = await losePower(scene, thumbprint)
  Object.assign(claims, survived)
  Object.assign(claims, await fallBack(scene))
  Object.assign(claims, await comeBack(scene, thumbprint))
  Object.assign(claims, await rollBackBadAuthority(scene, thumbprint))
  Object.assign(claims, await retireSas(scene))
  Object.assign(claims, await refuseSas(scene))
  claims.keyStayed = await secrets.stayed()
  await scene.device.stop()
  Object.assign(claims, judgeWhole(scene, cutMs))
  return { ok: Object.values(claims).every(Boolean) }
}

/** What can be said only of the whole story. */
function judgeWhole(scene: Scene, cutMs: number): Pick<Claims, 'oneSessionAtATime' | 'nothingLost'> {
  const { cloud, check } = scene
  const most = mostSessions(allEvents(scene), cloud.hub.host, REGISTRATION_ID)
  const delivery = judgeDelivery(allEvents(scene), [cutMs])
  const { samples, longestGapMs, inOrder } = delivery
  const order = inOrder ? 'in their order' : 'out of order'
  return {
    oneSessionAtATime: check('one session', most === 1, `the hub never had more than ${most} of this device at a time`),
    nothingLost: check(
      'nothing lost',
      isComplete(delivery),
      `${samples} samples, one a second, ${order}, never more than ${longestGapMs} ms apart while there was power`,
    ),
  }
}
