import { problemAt } from './judge.ts'
import type { Rule } from './judge.ts'

const programIsNamed: Rule = (values, found) => {
  if (values.get('issuer.kind') !== 'command' || found.has('issuer.program')) return []
  return [
    problemAt(found, 'issuer.program', {
      problem: 'It is missing beside issuer.kind = "command".',
      remedy:
        'Name the program that turns a request into a certificate: [issuer] program = ["/usr/local/bin/sign-request"]',
    }),
  ]
}

const serverIsKnown: Rule = (values, found) =>
  ['issuer.est.server', 'issuer.est.caFile']
    .filter((key) => values.get('issuer.kind') === 'est' && !found.has(key))
    .map((key) =>
      problemAt(found, key, {
        problem: 'It is missing beside issuer.kind = "est".',
        remedy:
          'Write both: [issuer.est] server = "https://est.example.com:8443", caFile = "/etc/iot-device-agent/est-ca.pem"',
      }),
    )

/** What belongs to one kind only, and is of no use while the kind was not written. */
const kindsOf: readonly (readonly [key: string, kind: string])[] = [
  ['issuer.program', 'command'],
  ['issuer.est.server', 'est'],
  ['issuer.dps.certificateFile', 'dps'],
]

const kindIsWritten: Rule = (_, found) =>
  kindsOf
    .filter(([key]) => found.has(key) && !found.has('issuer.kind'))
    .slice(0, 1)
    .map(([key, kind]) =>
      problemAt(found, key, {
        problem: 'It counts for nothing: issuer.kind is not set, and certificates would come through the folder.',
        remedy: `Write [issuer] kind = "${kind}", or kind = "folder" if that is what is meant.`,
      }),
    )

/** Either belongs to the other. */
const pairs: readonly (readonly [one: string, other: string])[] = [
  ['issuer.est.user', 'issuer.est.passwordFile'],
  ['issuer.est.certificateFile', 'issuer.est.keyFile'],
  ['issuer.dps.certificateFile', 'issuer.dps.keyFile'],
]

const pairsAreComplete: Rule = (_, found) =>
  [...pairs, ...pairs.map(([one, other]) => [other, one] as const)]
    .filter(([one, other]) => found.has(one) && !found.has(other))
    .map(([one, other]) =>
      problemAt(found, other, { problem: `It is missing beside ${one}.`, remedy: `Set it too, or remove ${one}.` }),
    )

/** DPS issues by what the device shows, at each expiry anew: that must be there, and stay. */
const onboardingStays: Rule = (values, found) => {
  const kind = values.get('issuer.kind')
  if (kind !== 'dps' && kind !== 'hub-credentials') return []
  if (found.has('issuer.dps.certificateFile')) return []
  if (!found.has('auth.sas.keyFile'))
    return [
      problemAt(found, 'issuer.kind', {
        problem:
          'DPS issues certificates to a device that shows something else first, and nothing is configured for it.',
        remedy:
          'Name the symmetric key of this device in auth.sas.keyFile, or a certificate in [issuer.dps] certificateFile and keyFile.',
      }),
    ]
  if (!found.has('auth.fallback.retireAfterDays')) return []
  return [
    problemAt(found, 'auth.fallback.retireAfterDays', {
      problem: 'It destroys the symmetric key by which DPS issues the certificates of this device.',
      remedy: 'Remove it, or have another onboarding credential: [issuer.dps] certificateFile and keyFile.',
    }),
  ]
}

export const issuerRules: readonly Rule[] = [
  kindIsWritten,
  onboardingStays,
  programIsNamed,
  serverIsKnown,
  pairsAreComplete,
]
