import { isManagedKind } from './config/paths.ts'
import type { Config } from './config/paths.ts'
import type { Lane } from './credential/credential-ref.ts'
import type { AuthPolicy } from './credential/policy.ts'

const DAY_MS = 86_400_000

/** The policy that the configuration writes down. */
export function policyOf({ auth, issuer }: Config): AuthPolicy {
  const { fallback } = auth
  const { retireAfterDays } = fallback
  return {
    born: auth.born,
    x509Enabled: auth.x509.enabled,
    downgradeAllowed: auth.allowDowngrade,
    movesPerDay: auth.movesPerDay,
    soakMs: auth.soakSeconds * 1000,
    onboarding: onboardingOf(issuer),
    renewal: {
      enabled: auth.renewal.enabled,
      fraction: auth.renewal.percent / 100,
      spread: auth.renewal.spreadPercent / 100,
      floorMs: auth.renewal.floorSeconds * 1000,
    },
    fallback: {
      enabled: fallback.enabled,
      untilMs: fallback.untilMs,
      refusals: fallback.refusals,
      holdOffMs: fallback.holdOffSeconds * 1000,
      perDay: fallback.perDay,
      returnAfterMs: fallback.returnAfterSeconds * 1000,
      retireAfterMs: retireAfterDays === undefined ? undefined : retireAfterDays * DAY_MS,
    },
  }
}

/** The lane of the onboarding credential; undefined where DPS issues no certificates. */
function onboardingOf({ kind, dps }: Config['issuer']): Lane | undefined {
  if (!isManagedKind(kind)) return undefined
  return dps.certificateFile === undefined ? 'sas' : 'x509'
}

/** As `policyOf` says at the moment in which a part of it is looked at: a reload may change `config`. */
export function livePolicyOf(config: Config): AuthPolicy {
  return {
    get born() {
      return policyOf(config).born
    },
    get x509Enabled() {
      return policyOf(config).x509Enabled
    },
    get downgradeAllowed() {
      return policyOf(config).downgradeAllowed
    },
    get movesPerDay() {
      return policyOf(config).movesPerDay
    },
    get soakMs() {
      return policyOf(config).soakMs
    },
    get onboarding() {
      return policyOf(config).onboarding
    },
    get renewal() {
      return policyOf(config).renewal
    },
    get fallback() {
      return policyOf(config).fallback
    },
  }
}
