import { lookAtDeviceTree, lookAtDmi, lookAtMac } from '../system/machine-identity.ts'
import { lookAtName, nothingAt } from '../system/machine-files.ts'
import type { Look, MachineRoot } from '../system/machine-files.ts'
import type { Found } from './flatten.ts'
import type { Problem } from './problems.ts'
import { showValue } from './show.ts'
import { isTemplate, parseTemplate, SOURCES } from './template.ts'
import type { Part, Source } from './template.ts'

const KEY = 'device.registrationId'

/** Longest template, in characters. */
const MAX_TEMPLATE = 512

/** The values of all places with the registration ID filled in from the machine, or what stood in the way. */
export interface Filled {
  readonly found: ReadonlyMap<string, Found>
  readonly problems: readonly Problem[]
}

/**
 * Puts what this machine says in the place of a template. A problem has no value when the machine does not tell what is
 * wanted, which may come later; it has the template as its value when that is wrong in itself.
 */
export function fillDeviceId(found: ReadonlyMap<string, Found>, machine: MachineRoot): Filled {
  const written = found.get(KEY)
  const template = written?.value
  if (written === undefined || typeof template !== 'string' || !isTemplate(template) || template.length > MAX_TEMPLATE)
    return { found, problems: [] }
  const filled = fill(template, machine, found.get('device.idRule')?.value !== 'azure')
  const rest = new Map(found)
  rest.delete(KEY)
  if (!filled.ok) return { found: rest, problems: [{ key: KEY, ...filled.problem, origin: written.origin }] }
  const origin = `${written.origin}, from ${showValue(template)}`
  return { found: new Map([...found, [KEY, { value: filled.value, origin }]]), problems: [] }
}

type Text =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly problem: Pick<Problem, 'value' | 'problem' | 'remedy'> }

/** @param lower whether what the machine says is written in small letters */
function fill(template: string, machine: MachineRoot, lower: boolean): Text {
  const parsed = parseTemplate(template)
  if (!parsed.ok) {
    const remedy = `Write text and any of ${SOURCES}.`
    return { ok: false, problem: { value: showValue(template), problem: parsed.problem, remedy } }
  }
  const looks = parsed.parts.map((part) => ({ part, looks: lookFor(part, machine) }))
  const values = looks.map(({ looks: all }) => all.find(({ value }) => value !== undefined)?.value)
  const missing = looks.flatMap(({ part, looks: all }, index) =>
    typeof part === 'string' || values[index] !== undefined ? [] : [{ source: part, looks: all }],
  )
  if (missing.length > 0) return { ok: false, problem: unanswered(template, missing) }
  const texts = parsed.parts.map((part, index) => {
    if (typeof part === 'string') return part
    const value = values[index] ?? ''
    return lower ? value.toLowerCase() : value
  })
  return { ok: true, value: texts.join('') }
}

/** The places where a part may be found, in the order of looking. */
function lookFor(part: Part, machine: MachineRoot): readonly Look[] {
  if (typeof part === 'string') return []
  if (part.from === 'hostname') return [lookAtHostname(machine)]
  if (part.from === 'serial') return [...lookAtDeviceTree(machine), lookAtDmi(machine, 'product_serial')]
  if (part.from === 'dmi') return [lookAtDmi(machine, part.name)]
  if (part.from === 'mac') return [withoutColons(lookAtMac(machine, part.name))]
  return [lookAtName(machine, part.path)]
}

/** What the kernel and distributions say when nobody has named the machine. */
function lookAtHostname(machine: MachineRoot): Look {
  const place = 'the host name'
  const value = machine.hostname()
  if (value === '') return nothingAt(place, 'is empty')
  return /^(localhost(\..*)?|\(none\))$/i.test(value)
    ? nothingAt(place, `is ${JSON.stringify(value)}, as on many machines`)
    : { place, value }
}

/** No registration ID that every service takes has a colon. */
function withoutColons(look: Look): Look {
  return look.value === undefined ? look : { ...look, value: look.value.replaceAll(':', '') }
}

interface Missing {
  readonly source: Source
  readonly looks: readonly Look[]
}

function unanswered(template: string, missing: readonly Missing[]): Pick<Problem, 'value' | 'problem' | 'remedy'> {
  const facts = missing.flatMap(({ looks }) =>
    looks.flatMap((look) => (look.value === undefined ? [`${look.place} ${look.why}`] : [])),
  )
  const remedies = [...new Set(missing.map(remedyFor))]
  return {
    value: undefined,
    problem: `The machine does not tell what ${showValue(template)} asks for: ${facts.join('; ')}.`,
    remedy: remedies.join(' '),
  }
}

function remedyFor({ source, looks }: Missing): string {
  if (looks.some((look) => look.value === undefined && look.denied)) {
    return source.from === 'file'
      ? `Let the user of the agent read ${source.path}.`
      : 'Let the agent read it: sudo systemd-tmpfiles --create iot-device-agent.conf'
  }
  switch (source.from) {
    case 'hostname':
      return 'Name the machine: sudo hostnamectl set-hostname NAME'
    case 'mac':
      return 'Name an interface that has the address of its maker: ip -details link'
    case 'file':
      return `Write the name into the first line of ${source.path}.`
    case 'serial':
    case 'dmi':
      return 'This machine has none: use {hostname}, {mac:eth0} or {file:/absolute/path} in its place.'
  }
}
