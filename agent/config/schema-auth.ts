import { exactOptional, optional } from 'valibot'
import { setting, table } from './setting.ts'
import { absolutePath, instant, oneOf, secretReference, tokenLabel, wholeNumber, yesOrNo } from './values.ts'

const x509 = table('The certificate that this device shows to DPS and to the hub.', {
  enabled: optional(
    setting(yesOrNo(), {
      description:
        'Whether this device may use X.509 at all. With false it makes no key, asks for no certificate, and rejects the wish to switch.',
    }),
    true,
  ),
  certificateFile: exactOptional(
    setting(absolutePath(), {
      description:
        'PEM chain of a certificate that was made elsewhere, leaf first. Together with keyFile, or not at all: without both the agent makes its own key.',
      environment: 'CERT_PATH',
      example: '/etc/iot-certs/press-07.pem',
      otherwise: 'the key and certificate in the state folder',
      aliases: ['certFile', 'certificate', 'cert'],
    }),
  ),
  keyFile: exactOptional(
    setting(absolutePath(), {
      description: 'PEM private key of certificateFile, readable by the agent only.',
      environment: 'KEY_PATH',
      example: '/etc/iot-certs/press-07.key',
      otherwise: 'the key and certificate in the state folder',
      aliases: ['key', 'privateKey', 'privateKeyFile'],
    }),
  ),
  keyStore: optional(
    setting(oneOf('file', 'encrypted', 'pkcs11', 'tpm'), {
      description:
        'Where the agent makes its keys: a file that only the agent can read, one that is encrypted besides, a PKCS#11 token, or the TPM, neither of which gives a key away. ' +
        'docs/keys.md says what each needs. It counts from the next certificate on.',
      aliases: ['keyProvider', 'hsm'],
    }),
    'file',
  ),
  encryptionKeyFile: optional(
    setting(secretReference(), {
      description:
        'The secret that encrypts keys with keyStore = "encrypted": iot-device-agent-key.service lays it there. Or credential:NAME of a systemd credential.',
      aliases: ['wrappingKeyFile', 'kekFile'],
    }),
    '/run/iot-device-agent-key/encryption-key',
  ),
  token: exactOptional(
    setting(tokenLabel(), {
      description: 'With keyStore = "pkcs11": the label of the token.',
      example: 'iot',
      otherwise: 'required with keyStore = "pkcs11"',
      aliases: ['tokenLabel'],
    }),
  ),
  pkcs11Engine: exactOptional(
    setting(absolutePath(), {
      description:
        'With keyStore = "pkcs11" where OpenSSL has no provider for tokens (Debian 12): the library of its PKCS#11 engine. Left out, the token is reached by the provider.',
      example: '/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so',
      otherwise: 'the provider that OPENSSL_CONF configures',
      aliases: ['engine', 'enginePath'],
    }),
  ),
  pinFile: exactOptional(
    setting(absolutePath(), {
      description:
        'With pkcs11Engine: the file with the PIN of the token, without a line end, readable by the agent only. Keys that were made name it, so it stays where it is.',
      example: '/etc/iot-device-agent/secrets/token.pin',
      otherwise: 'required with pkcs11Engine',
      caution:
        'A PIN never stands in the configuration: put it into a file of its own (mode 0600, owned by the agent) and name that here. If it stood here, change it.',
      aliases: ['pin', 'tokenPin'],
    }),
  ),
  keyType: exactOptional(
    setting(oneOf('ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096'), {
      description:
        'The key that the agent makes. Making an RSA key takes far longer than making an EC key, most of all on a small processor.',
      example: 'ec-p256',
      otherwise: 'ec-p256; ec-p384 where DPS issues the certificates',
      aliases: ['keyAlgorithm', 'algorithm'],
    }),
  ),
})

/** What is said wherever somebody may have written the secret in place of its file. */
const CAUTION =
  'A secret never stands in the configuration: put the key of this device into a file of its own (mode 0600, owned by the agent) ' +
  'and name it in auth.sas.keyFile, or write credential:NAME for a systemd credential. A group key never belongs on a device.'

const sas = table('The symmetric key of this device, for DPS and the hub. The secret stands in a file of its own.', {
  keyFile: exactOptional(
    setting(secretReference(), {
      description:
        'File with the base64 key of this device at DPS, mode 0600 and owned by the agent; or credential:NAME of a systemd credential. Not the key of a group.',
      environment: 'IOT_AGENT_SAS_KEY_FILE',
      example: '/etc/iot-device-agent/secrets/sas.key',
      otherwise: 'no SAS through DPS',
      aliases: ['key', 'symmetricKey', 'primaryKey', 'sharedAccessKey', 'deviceKey', 'groupKey'],
      caution: CAUTION,
    }),
  ),
  connectionStringFile: exactOptional(
    setting(secretReference(), {
      description:
        'File with the connection string of this device at a hub that DPS does not manage, in place of keyFile; or credential:NAME of a systemd credential.',
      environment: 'IOT_AGENT_SAS_CONNECTION_STRING_FILE',
      example: 'credential:iot-device-agent.connection-string',
      otherwise: 'no SAS without DPS',
      aliases: ['connectionString', 'deviceConnectionString'],
      caution: CAUTION,
    }),
  ),
  enrollment: optional(
    setting(oneOf('group', 'individual'), {
      description:
        'How DPS knows the key of keyFile. In a "group" it was derived for this device and has exactly 32 bytes, which tells it from most keys of a whole group.',
      aliases: ['enrollmentType'],
    }),
    'group',
  ),
})

const fallback = table('Back to SAS for a while, when the cloud refuses the certificate of this device for good.', {
  enabled: optional(
    setting(yesOrNo(), {
      description:
        'Whether the agent may go back to SAS by itself. Never for a fault of network, name resolution, proxy, server trust, throttling or clock.',
      aliases: ['enable'],
    }),
    false,
  ),
  until: exactOptional(
    setting(instant(), {
      description: 'End of the migration: no fallback begins after it. A day alone means its end in UTC.',
      example: '2027-01-31',
      otherwise: 'required with enabled = true',
      aliases: ['endDate', 'untilDate', 'end'],
    }),
  ),
  refusals: optional(
    setting(wholeNumber(2, 100), {
      description: 'Refusals in a row before a fallback, all of them answers that only the cloud can have given.',
      unit: 'refusals',
    }),
    5,
  ),
  holdOffSeconds: optional(
    setting(wholeNumber(0, 86_400), {
      description:
        'Least time from the first of these refusals to the last. DPS may refuse a good credential for half an hour.',
      unit: 'seconds',
      aliases: ['holdOff', 'holdOffMinutes'],
    }),
    1800,
  ),
  perDay: optional(
    setting(wholeNumber(1, 24), { description: 'Fallbacks that 24 hours may see.', unit: 'fallbacks' }),
    2,
  ),
  returnAfterSeconds: optional(
    setting(wholeNumber(5, 604_800), {
      description:
        'Time until X.509 is tried again after a fallback. It doubles with each try that failed, up to eight times this.',
      unit: 'seconds',
      aliases: ['returnAfter', 'returnAfterMinutes'],
    }),
    14_400,
  ),
  retireAfterDays: exactOptional(
    setting(wholeNumber(1, 3650), {
      description: 'X.509 that has proved itself for so long retires SAS by itself: the secret is destroyed, for good.',
      unit: 'days',
      example: 90,
      otherwise: 'never',
      aliases: ['retireAfter', 'retire'],
    }),
  ),
})

const renewal = table('A new key and certificate before the present one expires.', {
  enabled: optional(
    setting(yesOrNo(), {
      description:
        'Whether the agent renews its certificate by itself. A pair of files that the configuration names is never renewed: whoever laid it down does that.',
      aliases: ['enable', 'auto'],
    }),
    true,
  ),
  percent: optional(
    setting(wholeNumber(10, 90), {
      description: 'The middle of the span in which certificates are renewed, as a part of their lifetime.',
      unit: 'percent',
      aliases: ['fraction', 'atPercent'],
    }),
    70,
  ),
  spreadPercent: optional(
    setting(wholeNumber(0, 30), {
      description:
        'Half of that span. Each certificate has its own point in it, so that a fleet that was certified in one hour is not renewed in one.',
      unit: 'percent',
      aliases: ['spread', 'jitter', 'jitterPercent'],
    }),
    10,
  ),
  floorSeconds: optional(
    setting(wholeNumber(60, 604_800), {
      description: 'Least time between two attempts; of a short lifetime at most a fiftieth.',
      unit: 'seconds',
      aliases: ['floor', 'minimumSeconds'],
    }),
    3600,
  ),
})

/** Who this device is to the cloud: its two lanes, and the rules for moving between them. */
export const auth = table('How this device shows who it is, and how it may move from one way to the other.', {
  mode: exactOptional(
    setting(oneOf('sas', 'x509'), {
      description:
        'Lane of a device that has no history yet. Afterwards the device twin, a command or a fallback moves it, and this key changes nothing.',
      example: 'x509',
      otherwise: 'sas where a SAS secret is configured, else x509',
      aliases: ['authMode', 'lane', 'authType'],
    }),
  ),
  allowDowngrade: optional(
    setting(yesOrNo(), {
      description:
        'Whether a wish (twin, command, method) may move this device from X.509 to SAS. A fallback has rules of its own.',
      aliases: ['downgrade'],
    }),
    true,
  ),
  movesPerDay: optional(
    setting(wholeNumber(1, 96), {
      description: 'Changes of credential that 24 hours may see. The way back to the old one is never counted.',
      unit: 'moves',
      aliases: ['flipsPerDay'],
    }),
    12,
  ),
  registerWithinSeconds: optional(
    setting(wholeNumber(30, 3600), {
      description:
        'Time that DPS has to take a new credential, all tries together. After it the old one is registered again.',
      unit: 'seconds',
      aliases: ['registerWithin', 'registerTimeout'],
    }),
    600,
  ),
  proveWithinSeconds: optional(
    setting(wholeNumber(30, 3600), {
      description: 'Time that a new credential has at the hub to read the twin and to have one message acknowledged.',
      unit: 'seconds',
      aliases: ['proveWithin', 'proveTimeout'],
    }),
    300,
  ),
  soakSeconds: optional(
    setting(wholeNumber(0, 31_536_000), {
      description: 'X.509 must have proved itself for so long before SAS may be retired.',
      unit: 'seconds',
      aliases: ['soak', 'soakHours'],
    }),
    86_400,
  ),
  x509,
  sas,
  renewal,
  fallback,
})
