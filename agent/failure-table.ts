import { authFailures } from './auth-failures.ts'
import { importFailures } from './import-failures.ts'
import { issueFailures } from './issue-failures.ts'
import { packageFailures } from './package-failures.ts'
import { telemetryFailures } from './telemetry-failures.ts'

/**
 * What the caller does next: `transient` try later, `refused` stop trying this, `invalid` reject the input,
 * `broken` an invariant of ours does not hold.
 */
export type FailureKind = 'transient' | 'refused' | 'invalid' | 'broken'

/** One row of the failure table: what an operator reads. */
export interface FailureEntry {
  readonly kind: FailureKind
  /** What happened, as one sentence. */
  readonly meaning: string
  /** What to do or type next. */
  readonly advice: string
}

/**
 * Every way to fail, for code, operators and the generated page docs/failures.md.
 * A code is never renamed or reused: dashboards and scripts know it.
 */
export const failureTable = {
  ...authFailures,
  ...telemetryFailures,
  ...packageFailures,
  ...issueFailures,
  ...importFailures,

  CA_FILE_UNREADABLE: {
    kind: 'transient',
    meaning: 'The file of trusted authorities for servers is missing or cannot be read.',
    advice:
      'Check path and permissions of tls.caFile. systemd starts the agent again, in case its file system is late.',
  },
  USAGE: {
    kind: 'invalid',
    meaning: 'The command line is not one this program knows.',
    advice: 'See: iot-device-agent --help',
  },
  OUTPUT_UNWRITABLE: {
    kind: 'invalid',
    meaning: 'The file for the output of a command cannot be written.',
    advice: 'Check folder and permissions, or leave --out away: the output then goes to stdout.',
  },
  AGENT_NOT_RUNNING: {
    kind: 'transient',
    meaning: 'Nothing answers on the control socket.',
    advice: 'Start it: systemctl start iot-device-agent. Then: journalctl -u iot-device-agent -n 50',
  },
  AGENT_ALREADY_RUNNING: {
    kind: 'refused',
    meaning: 'Another agent answers on the control socket of this runtime folder.',
    advice: 'One agent per device: two would push each other off the hub. See: iot-device-agent status',
  },
  CONTROL_DENIED: {
    kind: 'refused',
    meaning: 'This user may not use the sockets of the agent, control.sock and telemetry.sock.',
    advice: 'Run it with sudo; or, for good: sudo usermod -aG iot-device-agent "$USER", and log in again.',
  },
  CONTROL_UNAVAILABLE: {
    kind: 'broken',
    meaning: 'The control socket cannot be made in the runtime folder.',
    advice:
      'Check that the folder belongs to the agent, is writable and its path is short: ls -ld /run/iot-device-agent',
  },
  CONTROL_BAD_REQUEST: {
    kind: 'invalid',
    meaning: 'A request on the control socket is not understood.',
    advice: 'One JSON object a line, at most 64 KiB: {"ask":"status"}',
  },
  CONTROL_BAD_ANSWER: {
    kind: 'broken',
    meaning: 'The control socket answered something this command does not understand.',
    advice: 'Command and agent are of different versions: systemctl restart iot-device-agent',
  },

  DISK_FULL: {
    kind: 'transient',
    meaning: 'The state folder has no space or quota left.',
    advice: 'Free space: df -h /var/lib/iot-device-agent. What was stored before is untouched.',
  },
  STATE_UNWRITABLE: {
    kind: 'broken',
    meaning: 'The state folder cannot be written.',
    advice: 'Check that it exists, is mounted read-write and belongs to the agent: ls -ld /var/lib/iot-device-agent',
  },
  STATE_FOREIGN: {
    kind: 'refused',
    meaning: 'The state folder belongs to another user than the one that runs the agent.',
    advice:
      'Run it as that user: systemctl start iot-device-agent. If the folder belongs to the wrong one: chown -R USER: /var/lib/iot-device-agent',
  },
  ACCESS_DENIED: {
    kind: 'refused',
    meaning: 'A file or folder in the message may not be read or written by the user of this process.',
    advice:
      'For a command: run it with sudo. For the agent: give its files back to it, chown -R iot-device-agent: /var/lib/iot-device-agent',
  },
  STATE_TORN: {
    kind: 'transient',
    meaning: 'A file of the state folder could not be understood and was set aside.',
    advice: 'The agent goes on without it. Keep the file that was set aside if you want to know why.',
  },

  STATE_LINKED: {
    kind: 'refused',
    meaning: 'A folder of the vault is a symbolic link: whoever may change the link may exchange the keys.',
    advice:
      'Put the folder itself in the place of the link. To keep the state elsewhere, move the whole state folder and name it in paths.stateDir (IOT_AGENT_STATE_DIR).',
  },

  KEY_EXPOSED: {
    kind: 'refused',
    meaning: 'A private key can be read, or its folder be changed, by others than the agent.',
    advice:
      'Make it private with the command in the message. If others may have read it, disable the device until it has another key: for one of its own, stop the agent, move the folder credentials out of its state folder, start it, then: iot-device-agent csr',
  },
  KEY_UNREADABLE: {
    kind: 'refused',
    meaning: 'A private key file is missing, unreadable or not a private key.',
    advice: 'Check path and owner of the file in the message.',
  },
  KEY_TYPE_UNSUPPORTED: {
    kind: 'invalid',
    meaning: 'The key is of a kind that Azure does not document for client certificates.',
    advice: 'Use EC P-256, EC P-384 or RSA of 2048 to 4096 bits.',
  },
  NO_PENDING_REQUEST: {
    kind: 'invalid',
    meaning: 'A chain was offered but no certificate request of this device is open.',
    advice:
      'Make one first: iot-device-agent csr, or iot-device-agent renew beside a certificate that the cloud refuses',
  },
  CERTIFICATE_STILL_GOOD: {
    kind: 'refused',
    meaning: 'The device already has a valid certificate; a request is made only when there is none or it has expired.',
    advice:
      'No request is needed. If the cloud refuses this certificate, or it is to be replaced: iot-device-agent renew',
  },

  CHAIN_UNREADABLE: {
    kind: 'invalid',
    meaning: 'The file is not a chain of PEM certificates.',
    advice: 'Give leaf and intermediates as PEM, no private key: openssl x509 -in FILE -noout -subject',
  },
  CHAIN_HOLDS_PRIVATE_KEY: {
    kind: 'invalid',
    meaning: 'The file holds a private key. Keys are made on the device and never travel.',
    advice:
      'Remove the key from the file and treat it as leaked. Have the request signed that this device made with a key of its own: iot-device-agent csr',
  },
  CHAIN_TOO_LARGE: {
    kind: 'invalid',
    meaning: 'The chain has more certificates or bytes than any device chain needs.',
    advice: 'Send the leaf and its intermediates only (at most 8 certificates, 64 KiB).',
  },
  CHAIN_KEY_MISMATCH: {
    kind: 'invalid',
    meaning: 'No certificate in the chain belongs to the key of this device.',
    advice: 'The CSR of another device, or an older one, was signed. Sign the current one: iot-device-agent csr',
  },
  CHAIN_NAME_MISMATCH: {
    kind: 'invalid',
    meaning: 'The subject CN of the leaf is not the registration ID.',
    advice: 'Have the CSR signed with its subject unchanged.',
  },
  CHAIN_LEAF_IS_CA: {
    kind: 'invalid',
    meaning: 'The certificate for this device is itself a certificate authority.',
    advice: 'Sign the CSR with basicConstraints = CA:FALSE.',
  },
  CHAIN_NOT_YET_VALID: {
    kind: 'transient',
    meaning: 'A certificate of the chain is not valid yet by the clock of this device.',
    advice: 'Check the clock (timedatectl); if it is right, wait until notBefore.',
  },
  CHAIN_EXPIRED: {
    kind: 'transient',
    meaning: 'A certificate of the chain has expired by the clock of this device.',
    advice: 'Check the clock (timedatectl); if it is right, have the CSR signed again.',
  },
  CHAIN_NO_CLIENT_AUTH: {
    kind: 'invalid',
    meaning: 'The leaf may not be used for TLS client authentication.',
    advice: 'Sign with extendedKeyUsage = clientAuth and keyUsage = digitalSignature.',
  },
  CHAIN_BROKEN: {
    kind: 'invalid',
    meaning: 'A certificate was not signed by the next one of the chain, or the next one may not sign.',
    advice: 'Append every intermediate up to the CA that is known to DPS, leaf first: cat leaf.pem intermediate.pem',
  },
  CHAIN_TOO_WEAK: {
    kind: 'invalid',
    meaning: 'A certificate of the chain uses a key or signature below policy.',
    advice:
      'Use SHA-256 or better and RSA of at least 2048 bits or EC P-256/P-384 in every certificate below the root.',
  },

  NETWORK_DNS: {
    kind: 'transient',
    meaning: 'The host name cannot be resolved.',
    advice: 'Check the name and the resolver: getent hosts HOST',
  },
  NETWORK_REFUSED: {
    kind: 'transient',
    meaning: 'The host refused the TCP connection.',
    advice: 'Is TCP port 8883 open on the way out? Firewalls often close it.',
  },
  NETWORK_UNREACHABLE: {
    kind: 'transient',
    meaning: 'There is no route to the host, or the link is down.',
    advice: 'Check the link and the route: ip route get 1.1.1.1',
  },
  NETWORK_TIMEOUT: {
    kind: 'transient',
    meaning: 'The host did not answer in time.',
    advice: 'Something on the way drops packets, often a firewall on TCP port 8883.',
  },
  NETWORK_RESET: {
    kind: 'transient',
    meaning: 'The connection was cut on the way.',
    advice: 'Usually passes by itself. If it repeats, look for a proxy or firewall that cuts long-lived TLS.',
  },

  TLS_SERVER_UNTRUSTED: {
    kind: 'transient',
    meaning: 'The certificate of the server does not lead to a trusted root.',
    advice:
      'Something between device and cloud may be opening TLS: a proxy, a captive portal. If that is wanted, put its authority into tls.caFile.',
  },
  TLS_SERVER_NAME: {
    kind: 'transient',
    meaning: 'The certificate of the server is for another name.',
    advice: 'Check dps.host for a typing error; a captive portal or proxy may also be answering.',
  },
  TLS_SERVER_DATES: {
    kind: 'transient',
    meaning: 'The certificate of the server is expired or not yet valid by the clock of this device.',
    advice: 'The clock of this device is probably wrong: timedatectl',
  },
  TLS_CREDENTIAL_REFUSED: {
    kind: 'refused',
    meaning: 'The server ended the TLS handshake because of the client certificate.',
    advice: 'Check the validity dates and the clock: iot-device-agent status; timedatectl',
  },
  TLS_LOCAL_CREDENTIAL: {
    kind: 'refused',
    meaning: 'Certificate and private key cannot be used together.',
    advice: 'Certificate and key are not a pair. Compare: openssl x509 -noout -pubkey against openssl pkey -pubout',
  },
  TLS_FAILED: {
    kind: 'transient',
    meaning: 'The TLS handshake failed for a reason that blames nobody.',
    advice: 'Usually a device in between. Test: openssl s_client -connect HOST:8883 -servername HOST',
  },

  DPS_BAD_REQUEST: {
    kind: 'refused',
    meaning: 'DPS does not accept the registration as it is (400).',
    advice: 'Check device.registrationId; a custom allocation webhook may also have refused the device.',
  },
  DPS_UNAUTHORIZED: {
    kind: 'refused',
    meaning: 'DPS does not accept this credential (401).',
    advice:
      'By X.509: is the CA of the chain verified in DPS and its enrollment enabled, and does no individual enrollment of this ID forbid it? A certificate that the cloud refuses is replaced by: iot-device-agent renew. By SAS: is it the key of this registration ID (az iot dps enrollment-group compute-device-key, not on the device)? Is the clock right?',
  },
  DPS_NOT_FOUND: {
    kind: 'refused',
    meaning: 'DPS knows no such scope or enrollment (404).',
    advice: 'Check dps.idScope against the portal, and that an enrollment covers this device.',
  },
  DPS_DISABLED: {
    kind: 'refused',
    meaning: 'The enrollment of this device is disabled in DPS.',
    advice: 'Somebody blocked this device on purpose. Enable its enrollment to let it in.',
  },
  DPS_REGISTRATION_FAILED: {
    kind: 'refused',
    meaning: 'DPS accepted the device but could not assign it to a hub.',
    advice: 'The message carries the reason of the service. Check the linked hubs and the allocation policy.',
  },
  DPS_NOT_ASSIGNED: {
    kind: 'transient',
    meaning: 'DPS ended the registration without an assignment.',
    advice: 'Check the status of the registration record in DPS; the agent tries again.',
  },
  DPS_OPERATION_LOST: {
    kind: 'transient',
    meaning: 'DPS no longer knows the registration that it had accepted (404 to a poll).',
    advice: 'The agent registers again by itself.',
  },
  DPS_CONFLICT: {
    kind: 'transient',
    meaning: 'DPS met a conflict (409).',
    advice: 'The agent registers again by itself.',
  },
  DPS_THROTTLED: {
    kind: 'transient',
    meaning: 'DPS is throttling (429).',
    advice: 'The agent waits as long as DPS asks. Spread the registrations of the fleet.',
  },
  DPS_SERVICE_FAULT: {
    kind: 'transient',
    meaning: 'DPS has a fault of its own (5xx).',
    advice: 'The agent tries again by itself. See the status page of Azure.',
  },
  DPS_NO_ANSWER: {
    kind: 'transient',
    meaning: 'DPS did not answer the registration in time.',
    advice: 'The agent tries again by itself.',
  },
  DPS_BAD_ANSWER: {
    kind: 'transient',
    meaning: 'DPS answered something that cannot be understood.',
    advice: 'The agent tries again by itself. If it repeats, check that dps.host is a DPS endpoint.',
  },
  DPS_REFUSED_CONNECTION: {
    kind: 'refused',
    meaning: 'DPS refused the MQTT connection (CONNACK 4 or 5).',
    advice:
      'Check that dps.host is a DPS endpoint and not a hub, dps.idScope, device.registrationId and the certificate: iot-device-agent status',
  },
  DPS_PROTOCOL: {
    kind: 'refused',
    meaning: 'DPS refused the MQTT protocol or client ID (CONNACK 1 or 2).',
    advice: 'Check that dps.host is a DPS endpoint.',
  },
  DPS_REFUSED_TOPIC: {
    kind: 'refused',
    meaning: 'DPS refused the subscription to its answers.',
    advice: 'Check that dps.host is a DPS endpoint and not another MQTT server.',
  },
  DPS_BUSY: {
    kind: 'transient',
    meaning: 'DPS is not available or throttles connections (CONNACK 3).',
    advice: 'The agent tries again by itself.',
  },
  DPS_CLOSED: {
    kind: 'transient',
    meaning: 'DPS closed the connection without a reason.',
    advice: 'If it repeats while the network is good, suspect the certificate: iot-device-agent status',
  },
  HUB_TYPE_UNSUPPORTED: {
    kind: 'refused',
    meaning: 'DPS assigned a hub that speaks only MQTT 5.',
    advice: 'Assign the device to a hub with connection profile classic.',
  },

  HUB_REFUSED_CREDENTIAL: {
    kind: 'refused',
    meaning: 'The hub refused the credential, or does not know or has disabled the device (CONNACK 4 or 5).',
    advice:
      'The agent registers through DPS again. If it repeats: is the device disabled in the hub, is the clock right?',
  },
  HUB_PROTOCOL: {
    kind: 'refused',
    meaning: 'The hub refused the MQTT protocol or client ID (CONNACK 1 or 2).',
    advice: 'Check that the assigned host is an IoT Hub.',
  },
  HUB_BUSY: {
    kind: 'transient',
    meaning: 'The hub is not available or throttles connections (CONNACK 3).',
    advice: 'The agent tries again by itself.',
  },
  HUB_NO_ANSWER: {
    kind: 'transient',
    meaning: 'The hub did not answer in time.',
    advice: 'The agent reconnects by itself.',
  },
  HUB_CLOSED: {
    kind: 'transient',
    meaning: 'The hub closed the connection.',
    advice: 'The agent reconnects by itself. If it repeats within seconds, another client may be using this device ID.',
  },
  HUB_CLOSED_EARLY: {
    kind: 'transient',
    meaning: 'The hub closed right after the TLS handshake, without an answer to CONNECT.',
    advice: 'If it repeats while other hosts answer, suspect the certificate: iot-device-agent status',
  },
  HUB_BAD_ANSWER: {
    kind: 'transient',
    meaning: 'The hub answered something that is not MQTT 3.1.1.',
    advice: 'Something else may answer under this name: openssl s_client -connect HOST:8883 -servername HOST',
  },
  SESSION_CLOSED: {
    kind: 'transient',
    meaning: 'The agent itself closed the connection to the hub.',
    advice: 'Nothing to do: it is stopping, or connects again with another credential.',
  },
  HUB_REFUSED_TOPIC: {
    kind: 'refused',
    meaning: 'The hub refused a subscription.',
    advice: 'A hub of the basic tier has no twin and no methods; free and standard have them.',
  },
  TWIN_REFUSED: {
    kind: 'transient',
    meaning: 'The hub refused to read or to change the device twin.',
    advice: 'The message carries the error of the hub. 429 passes by itself.',
  },
  TWIN_MALFORMED: {
    kind: 'transient',
    meaning: 'The hub sent a twin that is not JSON.',
    advice: 'The agent reads the whole twin again at its next connection.',
  },
  MESSAGE_REFUSED: {
    kind: 'invalid',
    meaning: 'A message breaks a limit of the hub, or the hub closes whenever it comes.',
    advice:
      'See which: iot-device-agent outbox. Mend the program that sends it: a message has at most 256 KB with its properties.',
  },

  UNEXPECTED: {
    kind: 'broken',
    meaning: 'Something happened that the program does not expect.',
    advice: 'Please report it with: journalctl -u iot-device-agent -n 200',
  },
} as const satisfies Record<string, FailureEntry>
