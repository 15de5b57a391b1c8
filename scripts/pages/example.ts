import { configSchema } from '../../agent/config/schema.ts'
import { describeTables } from '../../agent/config/setting.ts'
import type { KeyInfo, TableInfo } from '../../agent/config/setting.ts'

const HEAD = `# Configuration of iot-device-agent. Copy to /etc/iot-device-agent/config.toml and remove the "# " before the keys you
# need. A value shown is the default unless its comment says otherwise. After a change: iot-device-agent config check
`

/** packaging/config.example.toml: every key with its meaning, all of them commented out. */
export function exampleFile(): string {
  return [HEAD, ...describeTables(configSchema).map(tableOf)].join('\n')
}

/** An entry of a list is there as soon as its line is, so that line is commented out too. */
function tableOf({ header, description, keys, list }: TableInfo): string {
  const line = list === undefined ? header : `# ${header}`
  return `${comment(description)}\n${line}\n\n${keys.map(keyOf).join('\n')}`
}

function keyOf(info: KeyInfo): string {
  const unit = info.unit === undefined ? '' : `, in ${info.unit}`
  const variable = info.environment === undefined ? '' : ` Environment: ${info.environment}.`
  const facts = `${standingOf(info)}${capital(info.rule)}${unit}.${variable}`
  const value = JSON.stringify(info.defaultValue ?? info.example)
  return `${comment(info.description)}\n${comment(facts)}\n# ${info.name} = ${value}\n`
}

/** Says when the value shown is not the default. */
function standingOf(info: KeyInfo): string {
  if (info.defaultValue !== undefined) return ''
  return info.required
    ? 'Required (an example is shown). '
    : `Left out: ${info.otherwise ?? 'nothing'} (an example is shown). `
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Longest line, in characters. */
const WIDTH = 118

function comment(text: string): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const line = lines.at(-1)
    if (line === undefined || line.length + 1 + word.length > WIDTH) lines.push(`# ${word}`)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines.join('\n')
}
