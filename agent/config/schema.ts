import { exactOptional, object, optional } from 'valibot'
import type { InferOutput } from 'valibot'
import { methodNames, NO_METHOD } from './methods.ts'
import { auth } from './schema-auth.ts'
import { telemetry } from './schema-telemetry.ts'
import { setting, table } from './setting.ts'
import {
  absolutePath,
  commandLine,
  httpsUrl,
  hostAndPort,
  idScope,
  oneOf,
  registrationId,
  secretReference,
  skewSource,
  socketFolder,
  sourceName,
  userName,
  wholeNumber,
  wordList,
} from './values.ts'

const device = table('Who this device is.', {
  registrationId: setting(registrationId(), {
    description:
      'Name of this device at DPS, and subject CN of its certificate. Lower-case letters, digits and hyphens, no hyphen at either end, ' +
      'at most 64: what DPS, the hub and X.509 all accept. May hold {hostname}, {serial}, {dmi:NAME}, {mac:eth0} or {file:/absolute/path}, which ' +
      'the machine fills in: "press-{serial}".',
    environment: 'DEVICE_ID',
    example: 'press-07',
    aliases: ['deviceId', 'id', 'name'],
  }),
  idRule: optional(
    setting(oneOf('portable', 'azure'), {
      description:
        'Which registration IDs are accepted. "azure" also lets capitals and . _ : through (the last character a letter, a digit or a hyphen), ' +
        'for fleets that are called so already. The hub tells capitals from small letters, DPS does not: write the ID everywhere alike.',
      environment: 'IOT_AGENT_ID_RULE',
    }),
    'portable',
  ),
})

const dps = table('Where this device registers.', {
  host: optional(
    setting(hostAndPort(), {
      description: 'The Device Provisioning Service, without scheme or path; port 8883 unless one is written.',
      environment: 'DPS_HOST',
      aliases: ['provisioningHost', 'globalEndpoint', 'endpoint'],
    }),
    'global.azure-devices-provisioning.net',
  ),
  idScope: setting(idScope(), {
    description: 'ID scope of the DPS instance, as the overview page of the portal shows it.',
    environment: 'DPS_ID_SCOPE',
    example: '0ne00ABCDEF',
    aliases: ['scopeId', 'scope'],
  }),
})

const est = table('An EST server (RFC 7030) that issues certificates, with issuer.kind = "est".', {
  server: exactOptional(
    setting(httpsUrl(), {
      description: 'Where it is, without /.well-known/est.',
      example: 'https://est.example.com:8443',
      otherwise: 'required with kind = "est"',
      aliases: ['serverUrl', 'endpoint'],
    }),
  ),
  label: exactOptional(
    setting(sourceName(), {
      description: 'The label of one authority of several behind the same server.',
      example: 'devices',
      otherwise: 'no label',
      aliases: ['profile', 'path'],
    }),
  ),
  caFile: exactOptional(
    setting(absolutePath(), {
      description: 'PEM with the authorities by which this server is known. No other is trusted.',
      example: '/etc/iot-device-agent/est-ca.pem',
      otherwise: 'required with kind = "est"',
      aliases: ['ca', 'trustAnchor'],
    }),
  ),
  user: exactOptional(
    setting(userName(), {
      description: 'The name that a device without a certificate shows, together with passwordFile.',
      example: 'press-07',
      otherwise: 'no password is shown',
      aliases: ['username', 'login'],
    }),
  ),
  passwordFile: exactOptional(
    setting(secretReference(), {
      description:
        'File with the password of user, mode 0600 and owned by the agent; or credential:NAME of a systemd credential.',
      example: 'credential:iot-device-agent.est-password',
      otherwise: 'no password is shown',
      aliases: ['password', 'secretFile'],
    }),
  ),
  certificateFile: exactOptional(
    setting(absolutePath(), {
      description:
        'PEM chain that a device shows which has no certificate of its own yet, as one from its maker. Together with keyFile; it goes before user and passwordFile.',
      example: '/etc/iot-certs/maker.pem',
      otherwise: 'none is shown',
      aliases: ['certFile'],
    }),
  ),
  keyFile: exactOptional(
    setting(absolutePath(), {
      description: 'PEM private key of certificateFile, readable by the agent only.',
      example: '/etc/iot-certs/maker.key',
      otherwise: 'none is shown',
    }),
  ),
})

const dpsIssuer = table(
  'Certificate management by DPS, a preview, with issuer.kind = "dps" or "hub-credentials": what the device shows to DPS, now and for each ' +
    'certificate that it is ever issued. Without a pair of files that is its symmetric key, auth.sas.keyFile.',
  {
    certificateFile: exactOptional(
      setting(absolutePath(), {
        description: 'PEM chain of the onboarding certificate, leaf first. Together with keyFile.',
        example: '/etc/iot-certs/onboarding.pem',
        otherwise: 'auth.sas.keyFile is shown',
        aliases: ['certFile'],
      }),
    ),
    keyFile: exactOptional(
      setting(absolutePath(), {
        description: 'PEM private key of certificateFile, readable by the agent only.',
        example: '/etc/iot-certs/onboarding.key',
        otherwise: 'auth.sas.keyFile is shown',
      }),
    ),
  },
)

const issuer = table('Where the certificate comes from.', {
  kind: optional(
    setting(oneOf('folder', 'command', 'est', 'dps', 'hub-credentials'), {
      description:
        'Who turns the certificate request of this device into a certificate. "folder" writes requests/ID.csr and waits for issued/ID.pem, for ' +
        'install-certificate, or for the direct method installCertificate. "command" runs a program as well, "est" asks an EST server as well. ' +
        '"dps" has DPS issue a certificate with each registration, and "hub-credentials" has the hub renew what DPS issued: previews of Azure, for ' +
        'enrollments with a credential policy.',
      aliases: ['type'],
    }),
    'folder',
  ),
  folder: exactOptional(
    setting(absolutePath(), {
      description: 'The folder that holds requests/ and issued/.',
      example: '/var/lib/iot-device-agent',
      otherwise: 'paths.stateDir',
      aliases: ['path', 'directory'],
    }),
  ),
  program: exactOptional(
    setting(commandLine(), {
      description:
        'With kind = "command": the program and its arguments, each as a text of its own; no shell comes between. It reads the request (PKCS#10, PEM) ' +
        'and prints the chain (PEM, leaf first). It runs as the user of the agent, in the sandbox of the service, and is run again until it gives a chain.',
      example: ['/usr/local/bin/sign-request', '--profile=device'],
      otherwise: 'required with kind = "command"',
      aliases: ['command', 'argv', 'exec'],
      commandLine: true,
    }),
  ),
  timeoutSeconds: optional(
    setting(wholeNumber(1, 3600), {
      description: 'Time that one run of the program may take; then it is ended, and run again later.',
      unit: 'seconds',
      aliases: ['timeout'],
    }),
    60,
  ),
  est,
  dps: dpsIssuer,
})

const hub = table('The connection to IoT Hub.', {
  keepAliveSeconds: optional(
    setting(wholeNumber(30, 60), {
      description:
        'MQTT keep-alive. A connection that died without a sign (half-open TCP) is noticed after at most twice this time: 90 s by default.',
      unit: 'seconds',
      aliases: ['keepAlive'],
    }),
    45,
  ),
})

const clock = table('Whether the clock of this device can be believed.', {
  syncWaitSeconds: optional(
    setting(wholeNumber(0, 3600), {
      description:
        'Longest wait for the clock to synchronise after a start at which it stands before what this device has seen already.',
      unit: 'seconds',
      aliases: ['syncWait', 'waitSeconds'],
    }),
    300,
  ),
  skewSource: exactOptional(
    setting(skewSource(), {
      description:
        'HTTPS server whose Date header the clock is compared with, port 443 unless one is written; "off" for no comparison.',
      example: 'global.azure-devices-provisioning.net:443',
      otherwise: 'dps.host on port 443',
      aliases: ['timeServer', 'skewServer', 'source'],
    }),
  ),
})

const methods = table('What the cloud may call on this device.', {
  allowed: optional(
    setting(wordList(), {
      description: `Direct methods that are answered, separated by blanks or commas, or "${NO_METHOD}". There are ${methodNames.join(', ')}.`,
      aliases: ['allow', 'allowList', 'allowedMethods'],
    }),
    methodNames.join(' '),
  ),
})

const log = table('What goes to the journal.', {
  level: optional(
    setting(oneOf('debug', 'info', 'warn', 'error'), {
      description: 'Least severity that is logged. The device twin may change it while the agent runs.',
      environment: 'IOT_AGENT_LOG_LEVEL',
    }),
    'info',
  ),
})

const tls = table('Which servers are trusted.', {
  caFile: exactOptional(
    setting(absolutePath(), {
      description:
        'PEM file of the only authorities to trust for servers, in place of those of the runtime: for a TLS-inspecting proxy, or a gateway with a private authority.',
      environment: 'IOT_AGENT_CA_FILE',
      example: '/etc/ssl/certs/ca-certificates.crt',
      otherwise: 'the roots of the runtime',
      aliases: ['ca', 'caPath', 'trustBundle'],
    }),
  ),
})

/** Where the sockets are when nobody says otherwise. */
export const DEFAULT_RUNTIME_DIR = '/run/iot-device-agent'

const paths = table('Where this agent keeps its files.', {
  stateDir: optional(
    setting(absolutePath(), {
      description: 'What must survive a restart: keys, certificates, the assigned hub. Only the agent may enter.',
      environment: 'IOT_AGENT_STATE_DIR',
      aliases: ['stateFolder', 'dataDir'],
    }),
    '/var/lib/iot-device-agent',
  ),
  runtimeDir: optional(
    setting(socketFolder(), {
      description: 'The sockets of the running agent.',
      environment: 'IOT_AGENT_RUNTIME_DIR',
      aliases: ['runtimeFolder', 'runDir'],
    }),
    DEFAULT_RUNTIME_DIR,
  ),
})

/**
 * Every key of the configuration: the one source of the loader, the commented example, `config list --doc` and
 * docs/configuration.md.
 */
export const configSchema = object({ device, dps, auth, issuer, telemetry, hub, clock, methods, log, tls, paths })

type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T

/** The configuration as it is written, defaults filled in; nothing derived. */
export type Settings = DeepReadonly<InferOutput<typeof configSchema>>
