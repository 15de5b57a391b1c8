/**
 * What a warning asks for: `wrong` the device is not as wanted now, `soon` it will not be unless somebody acts,
 * `note` worth knowing.
 */
export type Severity = 'wrong' | 'soon' | 'note'

export interface WarningEntry {
  readonly severity: Severity
  readonly meaning: string
  /** What to do or type next. */
  readonly advice: string
}

/** In this order the device is never without a credential. */
const MOVE_TO_THE_VAULT =
  'iot-device-agent csr, have it signed, iot-device-agent install-certificate CHAIN.pem; only then take the pair out of ' +
  'the configuration (CERT_PATH, KEY_PATH; move the files away if none of their settings is written) and restart'

/** Every warning the agent can raise. A code is never renamed or reused: dashboards and scripts know it. */
export const warningTable = {
  HUB_DISCONNECTED: {
    severity: 'wrong',
    meaning: 'The device has been without its hub for longer than a reconnection takes.',
    advice: 'journalctl -u iot-device-agent -n 50',
  },
  AWAITING_CERTIFICATE: {
    severity: 'wrong',
    meaning: 'The device has made its key and CSR, and waits for its certificate.',
    advice:
      'iot-device-agent csr, have it signed, then: iot-device-agent install-certificate CHAIN.pem. What a configured issuer said: journalctl -u iot-device-agent -n 20',
  },
  CERTIFICATE_EXPIRED: {
    severity: 'wrong',
    meaning: 'The certificate has expired by the clock of this device: no server will take it at the next connection.',
    advice: 'Check the clock (timedatectl); if it is right: iot-device-agent csr',
  },
  CERTIFICATE_NOT_YET_VALID: {
    severity: 'wrong',
    meaning: 'The certificate is not valid yet by the clock of this device.',
    advice: 'The clock is probably wrong: timedatectl',
  },
  CERTIFICATE_EXPIRES_SOON: {
    severity: 'soon',
    meaning: 'A fifth of the life of the certificate is left, or 30 days if that is less.',
    advice:
      'It was to be renewed before: iot-device-agent status says what stands in the way, and journalctl -u iot-device-agent what the issuer said.',
  },
  RENEWAL_AWAITED: {
    severity: 'soon',
    meaning: 'The device has asked for its next certificate an hour ago or more. The present one goes on meanwhile.',
    advice:
      'iot-device-agent csr, have it signed, then: iot-device-agent install-certificate CHAIN.pem. Where a program or a server issues: journalctl -u iot-device-agent',
  },
  KEY_EXPOSED: {
    severity: 'wrong',
    meaning: 'The private key can be read or exchanged by others than the agent.',
    advice: 'Type the command that the warning of the device names.',
  },
  LEGACY_KEY_PAIR: {
    severity: 'note',
    meaning: 'The key was not made by this agent (CERT_PATH and KEY_PATH): nobody can say where else it is.',
    advice: MOVE_TO_THE_VAULT,
  },
  KEY_FOREIGN: {
    severity: 'soon',
    meaning:
      'The key in use was taken over from an older client (iot-device-agent import): it was made elsewhere, and once left a machine.',
    advice:
      'iot-device-agent renew, then iot-device-agent csr, and have it signed; the device goes on with the old key until the new one has proved itself.',
  },
  ROLLING_BACK: {
    severity: 'wrong',
    meaning: 'The device goes back to the credential that it had before a change.',
    advice: 'Nothing: it goes on until one of its credentials works. See: iot-device-agent status',
  },
  FALLEN_BACK_TO_SAS: {
    severity: 'wrong',
    meaning: 'The cloud refused the certificate for good, and the device is on SAS until X.509 works again.',
    advice: 'Mend the cause; X.509 is tried again by itself, and at once with: iot-device-agent auth x509',
  },
  MOVE_ROLLED_BACK: {
    severity: 'wrong',
    meaning:
      'The last change of credential came to no verdict; the device is on the one before, and tries again by itself.',
    advice: 'Mend the cause that the warning names, or take the wish back.',
  },
  MOVE_REFUSED: {
    severity: 'wrong',
    meaning:
      'A change of credential was refused, by the cloud or by the rules of this device; the device is where it was.',
    advice: 'Mend the cause that the warning names, then wish it anew; or take the wish back.',
  },
  SAS_SECRET_UNUSABLE: {
    severity: 'wrong',
    meaning: 'A SAS secret is configured, and cannot be used.',
    advice: 'Mend what the warning names, or take auth.sas out of the configuration.',
  },
  RETIREMENT_INCOMPLETE: {
    severity: 'soon',
    meaning: 'SAS is retired on this device, and a copy of its secret may still be somewhere.',
    advice:
      'Remove each copy that the warning names. A copy is worth nothing once the key is regenerated, or its enrollment deleted.',
  },
  SAS_STILL_HERE: {
    severity: 'note',
    meaning: 'X.509 has proved itself for 30 days, and the SAS secret is still on the device.',
    advice: 'When the fleet needs no way back: set auth.sasRetired to true in the twin, which destroys the secret.',
  },
  CLOCK_WRONG: {
    severity: 'wrong',
    meaning: 'The clock is before what this device has seen already, or a server says that it is off.',
    advice: 'Let it synchronise: timedatectl. No credential is judged before.',
  },
  CLOCK_UNTRUSTED: {
    severity: 'note',
    meaning: 'Nobody has confirmed the clock: it is not synchronised, and no server has told the time yet.',
    advice: 'Let it synchronise: timedatectl',
  },
  AUDIT_TAMPERED: {
    severity: 'wrong',
    meaning: 'The audit trail does not fit together: a line was changed or removed.',
    advice: 'Compare it with the head that the device twin reported (auth.audit): audit.ndjson in the state folder.',
  },
  DESIRED_REFUSED: {
    severity: 'wrong',
    meaning: 'A desired property of the twin cannot be followed.',
    advice: 'Mend it in the twin; the reported properties say what is wrong with it.',
  },
  OUTBOX_REFUSING: {
    severity: 'wrong',
    meaning: 'New samples cannot be stored; whoever hands one in is told so. What was stored before is untouched.',
    advice: 'Type what the warning of the device names, as a rule: df -h /var/lib/iot-device-agent',
  },
  OUTBOX_IN_MEMORY: {
    severity: 'wrong',
    meaning: 'The outbox cannot be kept on disk: what is not sent is lost with the process.',
    advice:
      'Check the state folder: ls -ld /var/lib/iot-device-agent, df -h, mount. The file is tried again every 30 s.',
  },
  SOURCE_FAILING: {
    severity: 'wrong',
    meaning: 'A program that is run for its measurements has failed three times in a row.',
    advice:
      'Run it by hand as the user of the agent: sudo -u iot-device-agent PROGRAM. Its output must be JSON. See: journalctl -u iot-device-agent | grep SOURCE_FAILED',
  },
  OUTBOX_TORN: {
    severity: 'soon',
    meaning: 'The outbox was found damaged within the last day; what could be read of it was kept.',
    advice: 'Look for failing storage: journalctl -k',
  },
  OUTBOX_NEARLY_FULL: {
    severity: 'soon',
    meaning:
      'Four fifths of the room of the outbox are taken; once it is full, older samples make room for newer ones.',
    advice:
      'Bring the device back to its hub, as iot-device-agent status says; or raise telemetry.outbox.maxMegabytes, then: ' +
      'systemctl restart iot-device-agent',
  },
  TELEMETRY_DROPPED: {
    severity: 'soon',
    meaning: 'Telemetry was given up within the last day, for the causes that the warning counts.',
    advice:
      '`full`: there was more than telemetry.outbox.maxMegabytes; `expired`: it was older than telemetry.outbox.maxDays; ' +
      '`torn`: look for failing storage with journalctl -k. Why the hub was away: iot-device-agent status',
  },
  MESSAGE_SET_ASIDE: {
    severity: 'note',
    meaning:
      'The hub never takes a message, by its size or because it closes at it; it was set aside, and the next went on.',
    advice: 'Which, and why: iot-device-agent outbox. Mend the program that sends it.',
  },
} as const satisfies Record<string, WarningEntry>

export type WarningCode = keyof typeof warningTable

/** A warning that the facts call for, with the fact as text. */
export interface Finding {
  readonly code: WarningCode
  readonly text: string
  /** What to do or type next on this device, where that is more than the table can say. */
  readonly advice?: string
}
