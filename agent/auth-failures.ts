import type { FailureEntry } from './failure-table.ts'

/** The part of the failure table that is about credentials, the clock and direct methods. */
export const authFailures = {
  AUTH_NO_SAS: {
    kind: 'refused',
    meaning: 'SAS is wanted, but this device has no SAS secret.',
    advice:
      'Lay down the key of this device (mode 0600, owned by the agent) and name it in auth.sas.keyFile, or stay on X.509.',
  },
  KEY_STORE_UNAVAILABLE: {
    kind: 'transient',
    meaning:
      'The token that holds the private key, or is to make one, cannot be used, or the secret that encrypts it is not there. Nothing is lost.',
    advice:
      'Of an encrypted key: systemctl status iot-device-agent-key. Of a token: check it and its drop-in as docs/keys.md says: systemctl show -p Environment iot-device-agent',
  },
  AUTH_NO_CERTIFICATE: {
    kind: 'transient',
    meaning: 'This device has no certificate yet: DPS is to issue the first one.',
    advice: 'Wait for the registration; why it does not come about: journalctl -u iot-device-agent -n 20',
  },
  AUTH_SAS_RETIRED: {
    kind: 'refused',
    meaning: 'SAS is wanted, but it was retired on this device for good.',
    advice: 'Stay on X.509: iot-device-agent renew asks for another certificate.',
  },
  AUTH_X509_OFF: {
    kind: 'refused',
    meaning: 'X.509 is wanted, but auth.x509.enabled is false on this device.',
    advice: 'Set auth.x509.enabled = true and restart: systemctl restart iot-device-agent',
  },
  AUTH_FORBIDDEN: {
    kind: 'refused',
    meaning: 'The policy of this device forbids the move.',
    advice: 'auth.allowDowngrade decides whether a wish may lead from X.509 to SAS: iot-device-agent config list',
  },
  AUTH_MOVES_SPENT: {
    kind: 'transient',
    meaning: 'The device has changed its credential as often as one day allows.',
    advice: 'It goes on by itself when the oldest move is a day old. See: iot-device-agent status',
  },
  AUTH_BUSY: {
    kind: 'transient',
    meaning: 'Another change of credential is under way and cannot be left in the middle.',
    advice: 'Wait for its end, then try again: iot-device-agent status',
  },
  AUTH_WISH_INVALID: {
    kind: 'invalid',
    meaning: 'A desired property below auth is not one that the device understands.',
    advice: 'Mend it in the twin; docs/twin.md has examples.',
  },
  AUTH_INTERRUPTED: {
    kind: 'transient',
    meaning: 'A change of credential was interrupted by a restart and is rolled back.',
    advice: 'Nothing: the wish is tried again by itself.',
  },
  AUTH_REGISTER_LATE: {
    kind: 'transient',
    meaning: 'DPS did not take the new credential in the time that a move has.',
    advice: 'The old credential goes on; the wish is tried again by itself. See: iot-device-agent status',
  },
  AUTH_PROOF_LATE: {
    kind: 'transient',
    meaning: 'The new credential did not prove itself at the hub in the time that a move has.',
    advice: 'The old credential goes on; the wish is tried again by itself. See: iot-device-agent status',
  },
  AUTH_WRONG_CREDENTIAL: {
    kind: 'broken',
    meaning: 'A session presented another credential than the one that was to be proved.',
    advice: 'Please report this with: journalctl -u iot-device-agent -n 200',
  },
  AUTH_WAIT_OVER: {
    kind: 'transient',
    meaning: 'A command waited for the end of a change of credential, and its time is over; the change goes on.',
    advice: 'See how far it is: iot-device-agent status',
  },
  AUTH_NOT_PROVEN_YET: {
    kind: 'transient',
    meaning: 'SAS is to be retired, but X.509 has not proved itself for long enough.',
    advice: 'It is retired by itself when the time is over. See: iot-device-agent status',
  },
  CLOCK_UNTRUSTED: {
    kind: 'transient',
    meaning: 'The clock of this device is before what it has seen already, or a server says that it is wrong.',
    advice: 'Let it synchronise: timedatectl; no credential is judged before.',
  },
  SAS_SECRET_EXPOSED: {
    kind: 'refused',
    meaning: 'A file with a SAS secret can be read or exchanged by others than the agent.',
    advice: 'Make it private with the command in the message. If others may have read it, have the key regenerated.',
  },
  SAS_SECRET_UNREADABLE: {
    kind: 'refused',
    meaning: 'A SAS secret is configured but cannot be read.',
    advice: 'Check path and owner of the file in the message, or the name of the systemd credential.',
  },
  SAS_SECRET_INVALID: {
    kind: 'invalid',
    meaning: 'The content of a SAS secret is not a key or a device connection string.',
    advice:
      'Put one line there: the base64 key of this device, or HostName=…;DeviceId=…;SharedAccessKey=… for auth.sas.connectionStringFile.',
  },
  SAS_GROUP_KEY: {
    kind: 'refused',
    meaning: 'The SAS secret is a key of a whole group or of a hub policy, which must never be on a device.',
    advice:
      'Replace it by the key of this device: az iot dps enrollment-group compute-device-key --key GROUP_KEY --registration-id ID; then have the key that was here regenerated.',
  },
  SESSION_RENEWED: {
    kind: 'transient',
    meaning: 'The agent ended a session to go on with a new SAS token.',
    advice: 'Nothing: this is how a token is renewed.',
  },
  JOURNAL_TORN: {
    kind: 'transient',
    meaning:
      'The record of the credentials could not be read; the device goes on with the credential that the pointer names.',
    advice: 'Nothing: the record was set aside, and a new one is written.',
  },
  METHOD_NOT_ALLOWED: {
    kind: 'refused',
    meaning: 'A direct method was called that methods.allowed does not name.',
    advice: 'Add it to methods.allowed if the cloud may do this: iot-device-agent config list',
  },
  METHOD_TOO_OFTEN: {
    kind: 'transient',
    meaning: 'Direct methods came faster, or more at a time, than the agent allows.',
    advice: 'Wait as long as the message says, or a minute, and call it again.',
  },
  METHOD_UNKNOWN: {
    kind: 'invalid',
    meaning: 'A direct method was called that the agent does not have.',
    advice: 'docs/twin.md lists them; capitals count.',
  },
  METHOD_LATE: {
    kind: 'transient',
    meaning: 'A direct method was not done in the time that a caller waits.',
    advice: 'It may still take effect: see the reported properties of the device twin, then call it again.',
  },
  METHOD_INVALID: {
    kind: 'invalid',
    meaning: 'The payload of a direct method is not what docs/twin.md says.',
    advice: 'Compare it with the examples in docs/twin.md.',
  },
  AUDIT_TAMPERED: {
    kind: 'broken',
    meaning: 'The audit trail does not fit together: a line was changed or removed.',
    advice:
      'Compare with the head that the device twin reported (auth.audit), and find out who had access to the device.',
  },
} as const satisfies Record<string, FailureEntry>
