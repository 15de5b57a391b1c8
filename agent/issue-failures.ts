import type { FailureEntry } from './failure-table.ts'

/** Every way to fail of whoever turns a certificate request into a certificate. Each is tried again. */
export const issueFailures = {
  DPS_NO_CERTIFICATE: {
    kind: 'refused',
    meaning: 'DPS assigned the device, but issued no certificate for its request.',
    advice:
      'Give the enrollment a credential policy, as az iot dps enrollment-group update --credential-policy NAME, in a namespace with certificate management; or set issuer.kind to another issuer.',
  },
  DPS_CSR_NEEDED: {
    kind: 'refused',
    meaning: 'Only DPS knows where the device belongs now, and it tells so only together with a new certificate.',
    advice: 'Nothing to do: the agent asks for another certificate as soon as its policy allows a move.',
  },
  HUB_ISSUES_LATER: {
    kind: 'transient',
    meaning:
      'The hub did not issue a certificate this time. It is asked again after a while, and DPS after eight times.',
    advice: 'Nothing to do, unless it lasts: the message has the words of the hub.',
  },
  HUB_ISSUES_NOTHING: {
    kind: 'refused',
    meaning: 'The hub does not issue certificates for this device, so that DPS is asked instead.',
    advice:
      'With 403010 the hub is not of the tier GEN2: set issuer.kind = "dps". Else the message has the words of the hub.',
  },
  HUB_CSR_REFUSED: {
    kind: 'refused',
    meaning: 'The hub refuses the certificate request for what it is; it is made anew with another key once.',
    advice: 'Set auth.x509.keyType = "ec-p384", which the documents ask for, then: systemctl restart iot-device-agent',
  },
  ISSUER_PROGRAM_FAILED: {
    kind: 'transient',
    meaning: 'The program that turns the certificate request into a certificate did not give one.',
    advice:
      'Run it by hand as the user of the agent, with the request on stdin: iot-device-agent csr | sudo -u iot-device-agent PROGRAM. A certificate that came another way: iot-device-agent install-certificate CHAIN.pem',
  },
  ISSUER_UNREACHABLE: {
    kind: 'transient',
    meaning: 'The EST server did not answer, or was not able to. The device goes on with what it has, and asks again.',
    advice:
      'From this device: curl --cacert CAFILE SERVER/.well-known/est/cacerts. A certificate that came another way: iot-device-agent install-certificate CHAIN.pem',
  },
  ISSUER_REFUSED: {
    kind: 'transient',
    meaning: 'The EST server does not give this device a certificate. It is asked again, ever more seldom.',
    advice:
      'Look into the log of the EST server; check [issuer.est] user, passwordFile, certificateFile and label, then: systemctl restart iot-device-agent',
  },
  ISSUER_DECIDES_LATER: {
    kind: 'transient',
    meaning:
      'The EST server has taken the request and decides later, as where a person approves it. It is told of once.',
    advice: 'Have the request approved at the EST server; this device asks again by itself, when the message says.',
  },
  ISSUER_WANTS_OTHER_KEY: {
    kind: 'refused',
    meaning:
      'The EST server asks for another kind of key than the request has. It is asked all the same, and may refuse.',
    advice: 'Set auth.x509.keyType to a kind that the message names, then: systemctl restart iot-device-agent',
  },
  ISSUER_ANSWER_INVALID: {
    kind: 'transient',
    meaning: 'What the EST server sent is no list of certificates, or of attributes.',
    advice:
      'Check server and label of [issuer.est]: curl --cacert CAFILE SERVER/.well-known/est/cacerts | base64 -d | openssl pkcs7 -inform DER -print_certs',
  },
  ISSUER_SECRET_UNUSABLE: {
    kind: 'transient',
    meaning: 'What the device is to show to the EST server cannot be read, or others can read it too.',
    advice: 'Do as the message says; the file belongs to the agent alone: chown iot-device-agent FILE; chmod 0600 FILE',
  },
} as const satisfies Record<string, FailureEntry>
