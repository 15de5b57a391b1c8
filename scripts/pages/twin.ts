import model from '../../docs/model/iot-device-agent-1.json' with { type: 'json' }
import { warningTable } from '../../agent/health/warning-table.ts'
import { methodStatuses, methodTable } from '../../agent/methods/table.ts'
import type { MethodEntry } from '../../agent/methods/table.ts'
import { code, markdownTable } from './markdown.ts'
import { replaceBetweenMarkers } from './markers.ts'
import { readModel } from './model.ts'
import type { ModelProperty } from './model.ts'

/** docs/twin.md: what people wrote, and the tables from the model, the methods and the warnings. */
export function twinPage(page = ''): string {
  const sections = {
    desired: desiredTable(),
    reported: reportedTable(),
    warnings: warningsTable(),
    methods: methodsTable(),
    statuses: statusesTable(),
  }
  return Object.entries(sections).reduce((text, [name, body]) => replaceBetweenMarkers(text, name, body), page)
}

function desiredTable(): string {
  const rows = readModel(model).properties.filter(({ writable }) => writable)
  return markdownTable(['key', 'value', 'meaning'], rows.map(row))
}

/** Settings of the sections `telemetry` and `log` are answered, and what is answered is said beside the table. */
function reportedTable(): string {
  const rows = readModel(model).properties.filter(({ path, writable }) => !writable || path === 'auth.mode')
  return markdownTable(['key', 'value', 'meaning'], rows.map(row))
}

function row({ path, type, description }: ModelProperty): readonly string[] {
  return [code(path), type, description]
}

function warningsTable(): string {
  const rows = Object.entries(warningTable).map(([name, { severity, meaning, advice }]) => [
    code(name),
    severity,
    meaning,
    advice,
  ])
  return markdownTable(['code', 'severity', 'meaning', 'what to do'], rows)
}

function methodsTable(): string {
  const rows = Object.entries<MethodEntry>(methodTable).map(([name, { does, payload, example, answers }]) => [
    code(name),
    Object.keys(payload.entries).length === 0 ? '' : code(JSON.stringify(example)),
    does,
    answers,
  ])
  return markdownTable(['method', 'payload, for example', 'what it does', 'answer of status 200'], rows)
}

function statusesTable(): string {
  return markdownTable(
    ['status', 'meaning'],
    Object.entries(methodStatuses).map(([status, meaning]) => [status, meaning]),
  )
}
