import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import type { RotationPorts } from '../../../agent/credential/rotation-ports.ts'

type Mutant = (ports: RotationPorts) => RotationPorts

/** Ways to build the rotation wrongly that two power cuts have to bring to light. */
export const reckless = {
  /** Nobody knows after a power cut that DPS may have been asked to take another credential. */
  'registers before the record is on disk': (ports) => ({
    ...ports,
    save: (record) => (record.lifecycle.phase === 'registering' ? Promise.resolve() : ports.save(record)),
  }),
  /** The old credential connects with what DPS said once, although DPS may have given the identity away. */
  'rolls back without a registration': (ports) => ({
    ...ports,
    link: (ref, start, events, signal) => ports.link(ref, start === 'registerFirst' ? 'cached' : start, events, signal),
  }),
  /** The pointer names a credential that nobody has seen work. */
  'activates what is only assigned': (ports) => ({
    ...ports,
    async save(record) {
      await ports.save(record)
      if (record.lifecycle.phase === 'proving') await ports.activate(record.lifecycle.candidate)
    },
  }),
} as const satisfies Readonly<Record<string, Mutant>>

/** Ways to overstep the policy that some story has to bring to light. */
export const lawless = {
  'lets a wish lead to SAS': withPolicy((policy) => ({ ...policy, downgradeAllowed: true })),
  'knows no end of a day': withPolicy((policy) => ({ ...policy, movesPerDay: 100 })),
  'falls back whenever it likes': withPolicy((policy) => ({
    ...policy,
    fallback: { ...policy.fallback, enabled: true, untilMs: Number.MAX_SAFE_INTEGER, perDay: 9 },
  })),
} as const satisfies Readonly<Record<string, Mutant>>

export const mutants: Readonly<Record<Fault, Mutant>> = { ...reckless, ...lawless }

export type Fault = keyof typeof reckless | keyof typeof lawless

function withPolicy(changed: (policy: AuthPolicy) => AuthPolicy): Mutant {
  return (ports) => ({ ...ports, policy: changed(ports.policy) })
}
