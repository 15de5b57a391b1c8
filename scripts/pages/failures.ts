import { failureTable } from '../../agent/failure-table.ts'
import type { FailureEntry, FailureKind } from '../../agent/failure.ts'
import { anchor, code, GENERATED, markdownTable } from './markdown.ts'

/** What the agent does by itself, for each kind of failure. */
const kinds: Readonly<Record<FailureKind, string>> = {
  transient: 'It passes, or may. The agent tries again by itself, later each time, and goes on with everything else.',
  refused:
    'Somebody said no, and asking again the same way is no use. The agent stops trying this way; if no other way is left, a person decides.',
  invalid: 'What was given is wrong. The agent rejects it whole and keeps what it had.',
  broken:
    'Something that must hold does not. The agent logs it with its stack and tries to go on, or ends and is started again.',
}

/** What the first word of a code is about; a new prefix needs a line here. */
const groups: Readonly<Record<string, string>> = {
  CONFIG: 'Configuration and commands',
  USAGE: 'Configuration and commands',
  AGENT: 'Configuration and commands',
  CONTROL: 'Configuration and commands',
  DISK: 'State on disk',
  STATE: 'State on disk',
  KEY: 'Keys and certificate requests',
  NO: 'Keys and certificate requests',
  CERTIFICATE: 'Keys and certificate requests',
  ISSUER: 'Keys and certificate requests',
  CHAIN: 'Certificate chains',
  JOURNAL: 'State on disk',
  AUDIT: 'State on disk',
  AUTH: 'SAS, X.509 and the way between them',
  SAS: 'SAS, X.509 and the way between them',
  CLOCK: 'SAS, X.509 and the way between them',
  METHOD: 'Direct methods',
  NETWORK: 'Network',
  TLS: 'TLS',
  DPS: 'Device Provisioning Service',
  SESSION: 'IoT Hub, twin and messages',
  HUB: 'IoT Hub, twin and messages',
  TWIN: 'IoT Hub, twin and messages',
  MESSAGE: 'IoT Hub, twin and messages',
}

/** Heading of codes whose prefix has no group. */
const OTHER = 'Other'

/** docs/failures.md. */
export function failuresPage(): string {
  return makeFailuresPage(failureTable)
}

/** The page for any table of failures: an index, then one section a code, so that each has an anchor of its own. */
export function makeFailuresPage(table: Readonly<Record<string, FailureEntry>>): string {
  const grouped = Map.groupBy(Object.entries(table), ([name]) => groups[name.split('_')[0] ?? ''] ?? OTHER)
  const sections = [...grouped].map(([heading, rows]) => section(heading, rows))
  const index = [...grouped].map(
    ([heading, rows]) => `- [${heading}](#${anchor(heading)}): ${rows.map(link).join(', ')}`,
  )
  return `${[...introduction(), index.join('\n'), ...sections].join('\n\n')}\n`
}

function introduction(): readonly string[] {
  const rows = Object.entries(kinds).map(([kind, meaning]) => [code(kind), meaning])
  return [
    '# Failures',
    GENERATED,
    'Every failure has a code. It stands in the log (`code`), in `status` and in the reported twin, and it is never renamed.',
    'The kind says what the agent does by itself:',
    markdownTable(['kind', 'what happens next'], rows),
  ]
}

function section(heading: string, rows: readonly (readonly [string, FailureEntry])[]): string {
  return [`## ${heading}`, ...rows.map(([name, entry]) => entrySection(name, entry))].join('\n\n')
}

function entrySection(name: string, { kind, meaning, advice }: FailureEntry): string {
  return `### ${name}\n\n${meaning} (${code(kind)})\n\n${advice}`
}

function link([name]: readonly [string, FailureEntry]): string {
  return `[${name}](#${anchor(name)})`
}
