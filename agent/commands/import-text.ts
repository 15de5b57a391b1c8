import { meanings } from '../takeover/names.ts'
import type { Meaning, OldValue } from '../takeover/names.ts'
import { CONFIG_FILE } from '../takeover/plan.ts'
import type { Plan } from '../takeover/plan.ts'

const HIDDEN = '(hidden)'

/** A plan for a machine to read, without any secret. */
export function planView({ client, lane, certificate, configText, copies, notes, problems }: Plan): object {
  const { name, unitFile, dropIns, user, program } = client
  return {
    unit: { name, file: unitFile, dropIns, user, program },
    lane,
    values: valuesOf(client.values),
    certificate: certificate && {
      subject: certificate.subject,
      thumbprintSha256: certificate.thumbprintSha256,
      notAfter: certificate.notAfter,
      key: certificate.keyKind,
    },
    writes: [{ path: CONFIG_FILE, content: configText }, ...copies.map(({ path, where }) => ({ path, from: where }))],
    ...{ notes, problems },
  }
}

/** The same for a person. */
export function planLines(plan: Plan): readonly string[] {
  const { client, lane, certificate, configText, copies, notes, problems } = plan
  const values = valuesOf(client.values).map(
    ({ meaning, value, where }) => `  ${meaning.padEnd(17)}${value}  (${where})`,
  )
  return [
    `Found ${client.unitFile}, which runs ${client.program ?? 'a program'} as ${client.user}, by ${lane}.`,
    ...client.dropIns.map((path) => `  drop-in          ${path}`),
    ...values,
    ...(certificate === undefined
      ? []
      : [
          `  certificate      ${certificate.subject}`,
          `  thumbprint       ${certificate.thumbprintSha256}`,
          `  expires          ${certificate.notAfter}`,
          `  key              ${certificate.keyKind}, belongs to the certificate`,
        ]),
    '',
    `Would write ${CONFIG_FILE}:`,
    ...configText
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `  ${line}`)),
    ...copies.map(({ path, where }) => `Would copy ${where} to ${path}`),
    `Would stop ${client.name}, move it aside, and start the new agent; if that does not connect, all goes back.`,
    ...notes.map((note) => `Note: ${note}`),
    ...ending(problems),
  ]
}

function ending(problems: Plan['problems']): readonly string[] {
  if (problems.length === 0) return ['', 'Nothing has changed. To take over:', '  sudo iot-device-agent import --apply']
  const blocks = problems.flatMap(({ problem, remedy }, index) => [`${index + 1}. ${problem}`, `   remedy: ${remedy}`])
  return ['', 'It cannot be taken over yet:', ...blocks]
}

function valuesOf(values: Plan['client']['values']): readonly { meaning: string; value: string; where: string }[] {
  return (Object.entries(values) as [Meaning, OldValue][]).map(([meaning, { value, where }]) => ({
    meaning,
    value: meanings[meaning].secret ? HIDDEN : value,
    where,
  }))
}
