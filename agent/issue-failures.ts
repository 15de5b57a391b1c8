import type { FailureEntry } from './failure-table.ts'

/** Every way to fail of whoever turns a certificate request into a certificate. Each is tried again. */
export const issueFailures = {
  ISSUER_PROGRAM_FAILED: {
    kind: 'transient',
    meaning: 'The program that turns the certificate request into a certificate did not give one.',
    advice:
      'Run it by hand as the user of the agent, with the request on stdin: iot-device-agent csr | sudo -u iot-device-agent PROGRAM. A certificate that came another way: iot-device-agent install-certificate CHAIN.pem',
  },
} as const satisfies Record<string, FailureEntry>
