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

/** Either belongs to the other. */
const pairs: readonly (readonly [one: string, other: string])[] = [
  ['issuer.est.user', 'issuer.est.passwordFile'],
  ['issuer.est.certificateFile', 'issuer.est.keyFile'],
]

const pairsAreComplete: Rule = (_, found) =>
  [...pairs, ...pairs.map(([one, other]) => [other, one] as const)]
    .filter(([one, other]) => found.has(one) && !found.has(other))
    .map(([one, other]) =>
      problemAt(found, other, { problem: `It is missing beside ${one}.`, remedy: `Set it too, or remove ${one}.` }),
    )

export const issuerRules: readonly Rule[] = [programIsNamed, serverIsKnown, pairsAreComplete]
