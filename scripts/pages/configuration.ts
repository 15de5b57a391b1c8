import { takenUpBy } from '../../agent/config/reload-keys.ts'
import { configSchema } from '../../agent/config/schema.ts'
import { describeKeys, describeTables } from '../../agent/config/setting.ts'
import type { KeyInfo, TableInfo } from '../../agent/config/setting.ts'
import { showValue } from '../../agent/config/show.ts'
import { code, GENERATED, markdownTable } from './markdown.ts'

const INTRODUCTION = `
The configuration is TOML. None of it is needed where the environment says enough: \`DPS_ID_SCOPE\` and \`DEVICE_ID\` are.

    iot-device-agent config check          every problem at once, each with its remedy; exit 0 or 78
    iot-device-agent config list           every key with its value and where it comes from
    iot-device-agent config list --doc     this page, in the terminal
    iot-device-agent config show-origin    which place counts for each key, and which ones it overrides

## Which place counts

Later wins, key by key; in a list such as \`[[telemetry.command]]\` entry by entry: one of a later file replaces, whole, the one of the
same name, and any other is added.

1. the default
2. \`/usr/lib/iot-device-agent/config.d/*.toml\`: what the builder of an image sets for all devices, also where /etc is empty or
   the root is read-only
3. \`/etc/iot-device-agent/config.toml\`
4. \`/etc/iot-device-agent/config.d/*.toml\`, in the order of their names; hidden files and other names are not read
5. the environment; an empty variable counts as not set

\`IOT_AGENT_CONFIG_DIR\` names another folder in place of \`/etc/iot-device-agent\`; the folder must then exist. No file is
written by the agent or by its package. An annotated file to start from is \`packaging/config.example.toml\`.

An unknown key is an error, and so is a file that is not TOML, not UTF-8, over 1 MiB, or not readable. With an invalid configuration
the agent ends with exit code 78, and systemd does not start it again until somebody has mended it.

## After a change

    systemctl reload iot-device-agent      or: iot-device-agent reload, or SIGHUP to the process

reads everything anew while the agent runs, and the connection stays as it is. The column *taken up by* says what counts at once
(*reload*) and what waits for \`systemctl restart iot-device-agent\` (*restart*). All that can be is taken up together; the rest is
named in the answer, in the log and by \`status\`, until a restart or until the files say again what they did. With any problem in
the files nothing changes and the agent goes on; all problems are printed, and the exit code is 78.

- What the device twin has set (\`telemetry.intervalSeconds\`, \`log.level\`) goes before the files, after a reload too.
- \`hub.keepAliveSeconds\` and \`telemetry.drain.jitterSeconds\` count from the next connection on.
- \`auth.fallback.enabled\` waits for a restart together with a secret below \`auth.sas\` that is written for it.
- A program of \`[[telemetry.command]]\` whose entry has changed is ended and begun anew; the others go on undisturbed.
- The environment of the process is that of its start: what the unit says in \`Environment=\` or an environment file needs a restart.
  A key that the environment sets keeps that value whatever the files say.
`

const TEMPLATES = `
## One configuration for many devices

\`device.registrationId\` (and \`DEVICE_ID\`) may be a template, which each machine fills in when the configuration is loaded:

    [device]
    registrationId = "press-{serial}"

| part | becomes |
|---|---|
| \`{hostname}\` | the host name of the kernel, unless it is \`localhost\` |
| \`{serial}\` | the serial number in the device tree, else \`product_serial\` of the firmware (DMI) |
| \`{dmi:NAME}\` | one of \`product_serial\`, \`product_uuid\`, \`board_serial\`, \`chassis_serial\`, \`chassis_asset_tag\` |
| \`{mac:eth0}\` | the address that this interface has from its maker, as twelve digits |
| \`{file:/absolute/path}\` | the first line of a file, at most 256 bytes; also \`/sys/devices/soc0/serial_number\` of many boards |

What the machine says is written in small letters where \`idRule\` is \`portable\`. Nothing else is exchanged: a result that is no
registration ID is an invalid configuration, and is shown with its template. Where a part is missing, empty, or a filler that many machines
have ("To be filled by O.E.M.", \`0000000000000000\`), the problem names every place that was looked at, and the agent waits, since a
name may come late. \`config list\` shows the result, and the template beside its place. A device that gets another host name gets
another registration ID: for a name that stays, take the serial number.

The keys of a device belong to one machine. When they wake up on another one, as on a copied card, the agent refuses to connect
(\`MACHINE_CHANGED\`, [decisions/machine-identity.md](decisions/machine-identity.md)).
`

const DROP_IN = `
## In place of the Python client

These variables have the names and the meaning that the Python client gave them, so that its unit or environment file
works as it is:
`

const DROP_IN_NOTES = `
- Where \`CERT_PATH\` and \`KEY_PATH\` are both unset, the Python client used \`/etc/iot-certs/<DEVICE_ID>.pem\` and \`.key\`. The agent
  does the same when all of this holds: \`DEVICE_ID\` comes from the environment, no file names a pair, and **both** files are
  there. \`config list\` then shows the origin \`python default\`. In every other case it makes its own key. To leave the old pair
  behind, remove it, or write \`device.registrationId\` in \`config.toml\` and remove \`DEVICE_ID\`.
- One of the two alone is an error: certificate and key come together. Paths must be absolute.
- An ID with capitals, dots, underscores or colons needs \`IOT_AGENT_ID_RULE=azure\`.
- \`TELEMETRY_INTERVAL\` must be at least 1.
`

/** docs/configuration.md. */
export function configurationPage(): string {
  const tables = describeTables(configSchema)
  const python = describeKeys(configSchema).filter(
    ({ environment }) => environment !== undefined && !environment.startsWith('IOT_AGENT_'),
  )
  const variables = markdownTable(
    ['variable', 'key', 'default'],
    python.map((info) => [code(info.environment ?? ''), code(info.key), standard(info)]),
  )
  const head = ['# Configuration', '', GENERATED, INTRODUCTION.trimEnd(), TEMPLATES.trimEnd()]
  const body = ['', '## Keys', ...tables.map(tableSection), DROP_IN.trimEnd(), '', variables, DROP_IN_NOTES.trimEnd()]
  return `${[...head, ...body].join('\n')}\n`
}

function tableSection({ header, description, keys }: TableInfo): string {
  const rows = keys.map((info) => [
    code(info.name),
    info.unit === undefined ? info.rule : `${info.rule} (${info.unit})`,
    standard(info),
    info.environment === undefined ? '' : code(info.environment),
    takenUpBy(info.key) ?? '',
    info.description,
  ])
  const heads = ['key', 'value', 'default', 'environment', 'taken up by', 'meaning']
  return `\n### \`${header}\`\n\n${description}\n\n${markdownTable(heads, rows)}`
}

function standard(info: KeyInfo): string {
  if (info.defaultValue !== undefined) return code(showValue(info.defaultValue))
  return info.required ? '**required**' : (info.otherwise ?? '')
}
