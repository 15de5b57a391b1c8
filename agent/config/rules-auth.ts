import { problemAt } from './judge.ts'
import type { Findings, Rule } from './judge.ts'
import type { Problem } from './problems.ts'

/** Either is a SAS secret; together they would name two. */
const sasKeys = ['auth.sas.keyFile', 'auth.sas.connectionStringFile'] as const

/** A key that has no right without a SAS secret, and what it says. */
const needsSas: readonly (readonly [key: string, value: unknown, claim: string])[] = [
  ['auth.mode', 'sas', 'It makes SAS the first lane of this device'],
  ['auth.fallback.enabled', true, 'It allows a fallback to SAS'],
  ['auth.x509.enabled', false, 'It leaves SAS as the only lane'],
]

const sasIsThere: Rule = (values, found) => {
  if (sasKeys.some((key) => found.has(key))) return []
  return needsSas.flatMap(([key, value, claim]) =>
    values.get(key) === value ? [problemAt(found, key, withoutSas(claim, key))] : [],
  )
}

function withoutSas(claim: string, key: string): Pick<Problem, 'problem' | 'remedy'> {
  return {
    problem: `${claim}, but no SAS secret is configured.`,
    remedy: `Name the file with the key of this device in auth.sas.keyFile (IOT_AGENT_SAS_KEY_FILE), or remove ${key}.`,
  }
}

const tokenIsNamed: Rule = (values, found) => {
  if (values.get('auth.x509.keyStore') !== 'pkcs11' || found.has('auth.x509.token')) return []
  return [
    problemAt(found, 'auth.x509.token', {
      problem: 'It is missing beside auth.x509.keyStore = "pkcs11".',
      remedy: 'Write the label of the token, as pkcs11-tool --list-token-slots shows it: [auth.x509] token = "iot"',
    }),
  ]
}

/** What may stand in the URI of a key as it is. */
const PLAIN_PATH = /^[\w./+@-]+$/

const engineIsWhole: Rule = (values, found) => {
  const engine = found.has('auth.x509.pkcs11Engine')
  const pinFile = values.get('auth.x509.pinFile')
  if (found.has('auth.x509.pinFile') && !engine) return [hidden(found, 'auth.x509.pinFile', PIN_ALONE)]
  if (engine && !found.has('auth.x509.pinFile')) return [problemAt(found, 'auth.x509.pinFile', PIN_MISSING)]
  if (typeof pinFile !== 'string' || PLAIN_PATH.test(pinFile)) return []
  return [hidden(found, 'auth.x509.pinFile', PIN_PATH)]
}

const PIN_ALONE = {
  problem: 'It counts only beside auth.x509.pkcs11Engine.',
  remedy: 'Remove it: a provider has the PIN from the file that OPENSSL_CONF names (pkcs11-module-token-pin).',
}

const PIN_MISSING = {
  problem: 'It is missing beside auth.x509.pkcs11Engine.',
  remedy: 'Name the file with the PIN of the token: [auth.x509] pinFile = "/etc/iot-device-agent/secrets/token.pin"',
}

const PIN_PATH = {
  problem: 'It has characters that cannot stand in the URI of a key.',
  remedy: 'Use a path of letters, digits and . _ - + @ only.',
}

const oneSecret: Rule = (_, found) => {
  const [first, second] = sasKeys
  if (!found.has(first) || !found.has(second)) return []
  return [
    hidden(found, second, {
      problem: `It stands beside ${first}: a device has one SAS secret.`,
      remedy: `Keep ${first} for a device that registers with DPS, or ${second} for a hub without DPS; remove the other.`,
    }),
  ]
}

/** Without the value, which no rule has judged yet. */
function hidden(found: Findings, key: string, text: Pick<Problem, 'problem' | 'remedy'>): Problem {
  return { ...problemAt(found, key, text), value: undefined }
}

const laneIsOn: Rule = (values, found) => {
  if (values.get('auth.mode') !== 'x509' || values.get('auth.x509.enabled') !== false) return []
  return [
    problemAt(found, 'auth.mode', {
      problem: 'X.509 is the first lane of this device, but auth.x509.enabled is false.',
      remedy: 'Set [auth.x509] enabled = true, or remove auth.mode.',
    }),
  ]
}

/** After the last point there must be room for attempts that fail. */
const MOST_PERCENT = 95

const renewalHasRoom: Rule = (values, found) => {
  const [percent, spread] = [values.get('auth.renewal.percent'), values.get('auth.renewal.spreadPercent')]
  if (typeof percent !== 'number' || typeof spread !== 'number') return []
  if (percent + spread <= MOST_PERCENT && percent - spread >= 5) return []
  return [
    problemAt(found, found.has('auth.renewal.percent') ? 'auth.renewal.percent' : 'auth.renewal.spreadPercent', {
      problem: `Renewals would come from ${percent - spread} to ${percent + spread} percent of the lifetime.`,
      remedy: `Keep them between 5 and ${MOST_PERCENT} percent, for example: [auth.renewal] percent = 70, spreadPercent = 10`,
    }),
  ]
}

const fallbackEnds: Rule = (values, found) => {
  if (values.get('auth.fallback.enabled') !== true || found.has('auth.fallback.until')) return []
  return [
    problemAt(found, 'auth.fallback.until', {
      problem: 'It is missing: a fallback to SAS that is enabled needs an end.',
      remedy: 'Write the day on which the migration is over, for example: [auth.fallback] until = 2027-01-31',
    }),
  ]
}

/** What holds between the keys below `auth`. */
export const authRules: readonly Rule[] = [
  sasIsThere,
  oneSecret,
  tokenIsNamed,
  engineIsWhole,
  laneIsOn,
  renewalHasRoom,
  fallbackEnds,
]
