/** The story of certificates that come and renew by themselves, told by what the cloud recorded. */
import { startCloud } from '../../test/cloud/cloud.ts'
import { makeTemporaryFolder } from '../../test/kit/openssl.ts'
import { MANAGED_LIFETIME_S, MANAGED_POLICY, setScene } from './renewal-scene.ts'
import type { Scene } from './renewal-scene.ts'
import {
  certifyByDps,
  certifyOverHub,
  enrolAtEst,
  judgeWhole,
  refuseOneRenewal,
  renewThreeTimes,
} from './renewal-steps.ts'
import { tellOf } from './words.ts'
import type { Telling, Told } from './words.ts'

/** What the story claims; each is false until it has been seen. */
const nothingYet = {
  certifiedOverHub: false,
  certifiedByDps: false,
  enrolledAtEst: false,
  reenrolledAtEst: false,
  threeRenewals: false,
  refusedRenewalKeptTheOld: false,
  renewedAfterwards: false,
  oneSessionAtATime: false,
  nothingLost: false,
}

type Claims = { -readonly [Name in keyof typeof nothingYet]: boolean }

interface Result extends Told, Readonly<Claims> {
  readonly seconds: number
  /** Why the story broke off, if it did. */
  readonly reason?: string
}

export async function tellRenewal(telling: Telling): Promise<Result> {
  await using folder = await makeTemporaryFolder()
  telling.say('authority', 'making a root and an intermediate with openssl')
  await using cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  // Azure asks for 3 s between two polls of a registration and allows five in 10 s; here are many registrations to watch.
  cloud.faults.set('retryAfterSeconds', 1)
  cloud.faults.set('pollsPerTenSeconds', 0)
  cloud.enrollFleet()
  const fleet = cloud.enrollSasFleet()
  await cloud.namespace.putPolicy(MANAGED_POLICY, { validitySeconds: MANAGED_LIFETIME_S, backdatedSeconds: 0 })
  const managed = cloud.enrollSasFleet('fleet-managed', { credentialPolicyName: MANAGED_POLICY })
  telling.say(
    'cloud',
    `DPS ${cloud.dpsAddress}; hub ${cloud.hub.host}; an EST server; a policy of certificate management`,
  )
  const scene = await setScene(telling, { cloud, fleet, managed, folder: folder.path })
  await using _est = scene.est
  const devices = [scene.overHub, scene.byDps, scene.byEst]
  const claims: Claims = { ...nothingYet }
  try {
    for (const device of devices) device.start()
    const told = await tellOf(scene.byEst, telling, () => live(scene, claims))
    const seconds = telling.seconds()
    telling.say('done', `in ${seconds} s`)
    return { ...told, ...claims, seconds }
  } finally {
    for (const device of devices) device.kill()
  }
}

/** Three devices at the same time: each has a certificate to wait for. */
async function live(scene: Scene, claims: Claims): Promise<Told> {
  const acts = [
    async () => Object.assign(claims, await certifyOverHub(scene)),
    async () => {
      Object.assign(claims, await certifyByDps(scene))
      Object.assign(claims, await refuseOneRenewal(scene))
    },
    async () => {
      Object.assign(claims, await enrolAtEst(scene))
      Object.assign(claims, await renewThreeTimes(scene))
    },
  ]
  await Promise.all(acts.map((act) => act()))
  await Promise.all([scene.overHub, scene.byDps, scene.byEst].map((device) => device.stop()))
  Object.assign(claims, judgeWhole(scene))
  return { ok: Object.values(claims).every(Boolean) }
}
