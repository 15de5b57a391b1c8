import { authRules } from './rules-auth.ts'
import { problemAt } from './judge.ts'
import type { Rule } from './judge.ts'
import { issuerRules } from './rules-issuer.ts'
import { methodsExist } from './rules-methods.ts'
import { telemetryRules } from './rules-telemetry.ts'

/** What DPS, the hub and a subject CN all take, whatever their reading of case. */
const portableId = /^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/

/** What DPS documents, bounded to the 64 characters of a subject CN. */
const azureId = /^[A-Za-z0-9._:-]{0,63}[A-Za-z0-9-]$/

/** Both or neither. */
export const pairKeys = ['auth.x509.certificateFile', 'auth.x509.keyFile'] as const

/** The pair that the Python client used when CERT_PATH and KEY_PATH were not set. */
export function pythonPair(
  registrationId: string,
  folder = '/etc/iot-certs',
): Record<(typeof pairKeys)[number], string> {
  return {
    'auth.x509.certificateFile': `${folder}/${registrationId}.pem`,
    'auth.x509.keyFile': `${folder}/${registrationId}.key`,
  }
}

/** Whether any rule lets this registration ID pass. Such an ID is safe as part of a file name. */
export function isRegistrationId(text: string): boolean {
  return azureId.test(text)
}

const registrationIdFollowsRule: Rule = (values, found) => {
  const id = values.get('device.registrationId')
  const rule = values.get('device.idRule')
  if (typeof id !== 'string' || typeof rule !== 'string') return []
  if ((rule === 'azure' ? azureId : portableId).test(id)) return []
  const widened = rule === 'portable' && azureId.test(id)
  return [
    problemAt(found, 'device.registrationId', {
      problem: widened
        ? `It has ${oddPart(id)}, which idRule "portable" does not allow.`
        : 'DPS or X.509 does not take this as a registration ID.',
      remedy: widened
        ? 'Use lower-case letters, digits and inner hyphens; if Azure knows the device by this name already, set [device] idRule = "azure", or IOT_AGENT_ID_RULE=azure'
        : 'Use at most 64 lower-case letters, digits and hyphens, with no hyphen at either end, for example: press-07',
    }),
  ]
}

const pairIsComplete: Rule = (values, found) => {
  const missing = pairKeys.filter((key) => !found.has(key))
  const present = pairKeys.find((key) => found.has(key))
  const [key] = missing
  if (key === undefined || present === undefined) return []
  const id = values.get('device.registrationId')
  const example = typeof id === 'string' && isRegistrationId(id) ? pythonPair(id)[key] : pythonPair('press-07')[key]
  const variable = key === 'auth.x509.keyFile' ? 'KEY_PATH' : 'CERT_PATH'
  return [
    problemAt(found, key, {
      problem: `It is missing beside ${present}: a certificate and its key come together.`,
      remedy: `Set it too, for example ${variable}=${example}, or remove ${present}: then the agent makes its own key.`,
    }),
  ]
}

/** The rules that need more than one key. */
export const configRules: readonly Rule[] = [
  registrationIdFollowsRule,
  pairIsComplete,
  ...issuerRules,
  ...authRules,
  methodsExist,
  ...telemetryRules,
]

/** What the wider rule of Azure lets through and the portable one does not. */
function oddPart(id: string): string {
  if (/[A-Z]/.test(id)) return 'capital letters'
  return /[._:]/.test(id) ? 'dots, underscores or colons' : 'hyphens at either end'
}
