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
2. \`/etc/iot-device-agent/config.toml\`
3. \`/etc/iot-device-agent/config.d/*.toml\`, in the order of their names; hidden files and other names are not read
4. the environment; an empty variable counts as not set

\`IOT_AGENT_CONFIG_DIR\` names another folder in place of \`/etc/iot-device-agent\`; the folder must then exist. No file is
written by the agent or by its package. An annotated file to start from is \`packaging/config.example.toml\`.

An unknown key is an error, and so is a file that is not TOML, not UTF-8, over 1 MiB, or not readable. With an invalid configuration
the agent ends with exit code 78, and systemd does not start it again until somebody has mended it.
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
  const head = ['# Configuration', '', GENERATED, INTRODUCTION.trimEnd()]
  const body = ['', '## Keys', ...tables.map(tableSection), DROP_IN.trimEnd(), '', variables, DROP_IN_NOTES.trimEnd()]
  return `${[...head, ...body].join('\n')}\n`
}

function tableSection({ header, description, keys }: TableInfo): string {
  const rows = keys.map((info) => [
    code(info.name),
    info.unit === undefined ? info.rule : `${info.rule} (${info.unit})`,
    standard(info),
    info.environment === undefined ? '' : code(info.environment),
    info.description,
  ])
  return `\n### \`${header}\`\n\n${description}\n\n${markdownTable(['key', 'value', 'default', 'environment', 'meaning'], rows)}`
}

function standard(info: KeyInfo): string {
  if (info.defaultValue !== undefined) return code(showValue(info.defaultValue))
  return info.required ? '**required**' : (info.otherwise ?? '')
}
