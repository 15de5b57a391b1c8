import { nameOf, parseRef } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { serialiseRecord } from '../../../agent/credential/journal.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { AuthPolicy, HeldCertificate } from '../../../agent/credential/policy.ts'
import type { AuthOrder, AuthWishes } from '../../../agent/credential/rotation-ports.ts'
import { MANAGED, newCloud } from './cloud.ts'
import { emptyDisk } from './disk.ts'
import { nothingCounted } from './world.ts'
import type { World } from './world.ts'

/** One transition: where the device and the cloud stand, and what is wished. */
export interface Scenario {
  readonly name: string
  readonly start: World
  readonly policy: AuthPolicy
  readonly certificateAfterMs: number
  readonly order?: AuthOrder
  /** The credential that is active in the end, if the cloud takes it; or one that came after it. */
  readonly goal: string
  /** It asks nothing of the cloud that could be refused. */
  readonly isLocal?: boolean
}

export const START_MS = Date.UTC(2026, 0, 15)
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export const fallback: AuthPolicy['fallback'] = {
  enabled: true,
  untilMs: START_MS + 365 * DAY_MS,
  refusals: 3,
  holdOffMs: MINUTE_MS,
  perDay: 4,
  returnAfterMs: 15 * MINUTE_MS,
  retireAfterMs: undefined,
}

export const policy: AuthPolicy = {
  born: 'sas',
  x509Enabled: true,
  downgradeAllowed: true,
  movesPerDay: 8,
  fallback: { ...fallback, enabled: false },
  soakMs: 30_000,
  renewal: { enabled: false, fraction: 0.7, spread: 0.1, floorMs: 3_600_000 },
}

interface Beginning {
  readonly active: string | undefined
  readonly certificates?: readonly string[]
  readonly hasSas?: boolean
  readonly memory?: Partial<Memory>
  readonly desired?: Omit<AuthWishes, 'version'>
  readonly revoked?: readonly string[]
  /** The credential that the trouble is about. */
  readonly candidate: string
  /** The certificates are those of DPS. */
  readonly isManaged?: true
  /** The active credential is known by its record; else it is the one that the device was born with. */
  readonly hasRecord?: boolean
  readonly cutsAtFlip?: boolean
  readonly remembersMs?: number
}

/** A device and a cloud that know each other for a week. */
export function worldOf(beginning: Beginning): World {
  const { active, certificates = [], hasSas = true, memory, desired, candidate, hasRecord = true } = beginning
  const ref = parseRef(active)
  const record = { version: 1, lifecycle: lifecycleOf(ref), memory: { ...emptyMemory, ...memory } } as const
  return {
    trueMs: START_MS,
    wallAheadMs: 0,
    knowsClock: true,
    boots: 0,
    trace: undefined,
    tally: { ...nothingCounted, proven: ref === undefined ? [] : [nameOf(ref)] },
    disk: {
      ...emptyDisk,
      hasSas,
      certificates: certificates.map((name) => ({ ...heldFor(name), isManaged: beginning.isManaged === true })),
      pointer: hasRecord ? ref : undefined,
      record: hasRecord ? serialiseRecord(record) : undefined,
      assignment: ref === undefined ? undefined : { assignedHub: 'hub-1', deviceId: 'edge-1' },
    },
    cloud: {
      ...newCloud,
      identity: beginning.isManaged === true && ref?.lane === 'x509' ? MANAGED : active,
      first: active ?? candidate,
      tookLast:
        active === undefined
          ? undefined
          : { name: beginning.isManaged === true ? 'sas' : active, atMs: START_MS - 7 * DAY_MS },
      candidate,
      revoked: beginning.revoked ?? [],
      cutsAtFlip: beginning.cutsAtFlip ?? true,
      remembersMs: beginning.remembersMs ?? 0,
      desired: { ...desired, version: 7 },
    },
  }
}

function lifecycleOf(active: CredentialRef | undefined) {
  return active === undefined ? ({ phase: 'newborn' } as const) : ({ phase: 'steady', active } as const)
}

function heldFor(generation: string): HeldCertificate {
  const notBeforeMs = START_MS - 30 * DAY_MS + Number(generation.slice('gen-'.length)) * DAY_MS
  return { ref: { lane: 'x509', generation }, notBeforeMs, notAfterMs: START_MS + 90 * DAY_MS }
}

const weekProven = { x509ProvenSinceMs: START_MS - 7 * DAY_MS }
const managed: AuthPolicy = { ...policy, onboarding: 'sas' }
const usual = { policy, certificateAfterMs: 40_000 }

export const scenarios: readonly Scenario[] = [
  {
    ...usual,
    name: 'SAS to X.509, born on SAS',
    start: worldOf({ active: 'sas', hasRecord: false, desired: { mode: 'x509' }, candidate: 'gen-0001' }),
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'SAS to a certificate that is there, sessions live on after the flip',
    start: worldOf({
      active: 'sas',
      certificates: ['gen-0001'],
      desired: { mode: 'x509' },
      candidate: 'gen-0001',
      cutsAtFlip: false,
    }),
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'X.509 to SAS, born on X.509',
    policy: { ...policy, born: 'x509' },
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      hasRecord: false,
      desired: { mode: 'sas' },
      candidate: 'sas',
    }),
    goal: 'sas',
  },
  {
    ...usual,
    name: 'renewal, without SAS',
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      hasSas: false,
      memory: weekProven,
      desired: { renew: 'spring' },
      candidate: 'gen-0002',
    }),
    goal: 'gen-0002',
  },
  {
    ...usual,
    name: 'renewal with the certificate at once, beside SAS',
    certificateAfterMs: 0,
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      memory: weekProven,
      desired: { mode: 'x509', renew: 'spring' },
      candidate: 'gen-0002',
    }),
    goal: 'gen-0002',
  },
  {
    ...usual,
    name: 'SAS to a certificate of DPS',
    policy: managed,
    start: worldOf({ active: 'sas', desired: { mode: 'x509' }, candidate: 'gen-0001' }),
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'born with a certificate of DPS',
    policy: { ...managed, born: 'x509' },
    start: worldOf({ active: undefined, isManaged: true, hasRecord: false, candidate: 'gen-0001' }),
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'a certificate of DPS that is revoked',
    policy: managed,
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      isManaged: true,
      memory: weekProven,
      revoked: ['gen-0001'],
      candidate: 'gen-0002',
    }),
    goal: 'gen-0002',
  },
  {
    ...usual,
    name: 'renewal by DPS',
    policy: managed,
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      isManaged: true,
      memory: weekProven,
      desired: { renew: 'spring' },
      candidate: 'gen-0002',
    }),
    goal: 'gen-0002',
  },
  {
    ...usual,
    name: 'a certificate of DPS to SAS',
    policy: managed,
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      isManaged: true,
      memory: weekProven,
      desired: { mode: 'sas' },
      candidate: 'sas',
    }),
    goal: 'sas',
  },
  {
    ...usual,
    name: 'reprovisioning',
    start: worldOf({ active: 'gen-0001', certificates: ['gen-0001'], memory: weekProven, candidate: 'gen-0001' }),
    order: { order: 'reprovision', cause: 'command', rehearse: false },
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'fallback',
    policy: { ...policy, born: 'x509', downgradeAllowed: false, fallback },
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      memory: weekProven,
      revoked: ['gen-0001'],
      candidate: 'sas',
    }),
    goal: 'sas',
  },
  {
    ...usual,
    name: 'return',
    policy: { ...policy, born: 'x509', downgradeAllowed: false, fallback },
    start: worldOf({
      active: 'sas',
      certificates: ['gen-0001'],
      memory: {
        fallbacks: [START_MS - 60 * MINUTE_MS],
        moves: [START_MS - 60 * MINUTE_MS],
        fallenBack: {
          from: { lane: 'x509', generation: 'gen-0001' },
          cause: 'HUB_REFUSED_CREDENTIAL',
          sinceMs: START_MS - 60 * MINUTE_MS,
          returnAtMs: START_MS - 1_000,
          returnsFailed: 0,
        },
      },
      candidate: 'gen-0001',
    }),
    goal: 'gen-0001',
  },
  {
    ...usual,
    name: 'retirement',
    policy: { ...policy, fallback },
    start: worldOf({
      active: 'gen-0001',
      certificates: ['gen-0001'],
      memory: { x509ProvenSinceMs: START_MS },
      desired: { mode: 'x509', sasRetired: true },
      candidate: 'gen-0001',
    }),
    goal: 'gen-0001',
    isLocal: true,
  },
]
