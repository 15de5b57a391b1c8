import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createParser, ModelParsingOption } from '@azure/dtdl-parser'
import model from '../../../docs/model/iot-device-agent-1.json' with { type: 'json' }
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import { Failure } from '../../../agent/failure.ts'
import { methodTable } from '../../../agent/methods/table.ts'
import type { MethodEntry } from '../../../agent/methods/table.ts'
import { telemetryFields } from '../../../agent/telemetry/fields.ts'
import { readDesired } from '../../../agent/twin/desired.ts'
import { isObject } from '../../../agent/twin/json.ts'
import type { Json } from '../../../agent/twin/json.ts'
import { MODEL_ID } from '../../../agent/twin/model.ts'
import { buildReported } from '../../../agent/twin/reported.ts'
import { readModel } from '../../../scripts/pages/model.ts'
import { authFacts, authNowMs, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'
import { emptyLevel } from '../../kit/outbox-level.ts'

const { properties, commands, telemetry } = readModel(model)

/** Reads interfaces as the parser of Azure does; rejects with what is wrong with them. */
async function parse(interfaces: readonly object[]): Promise<readonly string[]> {
  const parser = createParser(ModelParsingOption.None)
  return Object.keys(await parser.parse(interfaces.map((each) => JSON.stringify(each))))
}

test('the parser of Azure takes the model, which is of DTDL version 3', async () => {
  assert.ok((await parse(model)).includes(MODEL_ID))
  for (const each of model) assert.equal(each['@context'], 'dtmi:dtdl:context;3')
})

const faults: readonly (readonly [what: string, from: string, to: string])[] = [
  ['a schema that does not exist', '"schema":"boolean"', '"schema":"bool"'],
  ['a name with a hyphen', '"name":"lastAttempt"', '"name":"last-attempt"'],
  ['a component without its interface', '"@id":"dtmi:com:iotdeviceagent:Auth;1"', '"@id":"dtmi:com:x:Auth;1"'],
  ['a property that DTDL does not know', '"writable":true', '"writeable":true'],
  ['two of one name', '"name":"outbox"', '"name":"clock"'],
]

for (const [what, from, to] of faults) {
  test(`the parser would notice ${what}`, async () => {
    const text = JSON.stringify(model)
    assert.ok(text.includes(from))
    await assert.rejects(parse(JSON.parse(text.replace(from, to)) as object[]))
  })
}

test('the first interface is the one that the device announces', () => {
  assert.equal(model[0]?.['@id'], MODEL_ID)
})

/** Everything that a device can have to report at one time, and more. */
function everything(): Readonly<Record<string, Json>> {
  const desired = readDesired({ auth: { mode: 'x509', renew: 'a', sasRetired: 'yes' }, $version: 7 })
  assert.ok(desired.ok)
  const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: '401' } as const
  const move = { ...wishedMove, because: 'DPS_UNAUTHORIZED' } as const
  const view = viewAuth(
    authFacts(
      { phase: 'rollingBack', active: onSas, candidate: onX509, move, verdict },
      {
        history: [refusedAttempt],
        fallenBack: { from: onX509, cause: 'DPS_UNAUTHORIZED', sinceMs: 0, returnAtMs: 0, returnsFailed: 0 },
        retirement: { atMs: 0, done: true, left: ['one'] },
      },
      {
        sas: new Failure('SAS_SECRET_UNREADABLE', 'no'),
        waiting: { code: 'AUTH_MOVES_SPENT', reason: 'spent', untilMs: authNowMs + 3_600_000 },
        audit: { seq: 1, head: 'ab', intact: true },
      },
    ),
  )
  const at = '2026-01-01T00:00:00.000Z'
  return buildReported({
    auth: {
      view: { ...view, awaitingSinceMs: 0 },
      certificate: {
        ...{ thumbprintSha256: 'AB', thumbprintSha1: 'CD', subject: 'CN=a', issuer: 'CN=b', serial: '1' },
        ...{ notBefore: at, notAfter: at, renewAt: at, issuedBy: 'folder', keyStore: 'file' },
      },
      desired: { ...desired.value, readAtMs: 0 },
      csrPem: '-----BEGIN CERTIFICATE REQUEST-----\nAB\n-----END CERTIFICATE REQUEST-----\n',
    },
    agent: { version: '1', runtime: 'node', arch: 'x64', os: 'linux', startedAtMs: 0 },
    clock: { trust: 'trusted', skewSeconds: 1 },
    outbox: { ...emptyLevel, depth: 1, bytes: 1, oldestAtMs: 0 },
    warnings: [{ code: 'CLOCK_WRONG', sinceMs: 0 }],
    acknowledgements: [],
  })
}

/** Every path of a document, lists as `[]`; the marker of components is none. */
function pathsOf(value: Json, path = ''): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item: Json) => pathsOf(item, `${path}[]`))
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = path === '' ? key : `${path}.${key}`
    return key === '__t' ? [] : [at, ...pathsOf(inner, at)]
  })
}

/** What the history has is described once, as the last attempt. */
const described = (path: string) => path.replace(/^auth\.history\[\]\./, 'auth.lastAttempt.')

test('whatever the device reports is in the model', () => {
  const known = new Set(properties.map(({ path }) => path))
  const reported = pathsOf(everything()).map(described)
  assert.deepEqual(
    reported.filter((path) => !known.has(path) && !['auth', 'telemetry', 'log'].includes(path)),
    [],
  )
})

test('whatever the model says of the reported part can be reported', () => {
  const reported = new Set(pathsOf(everything()).map(described))
  const readable = properties.filter(({ writable }) => !writable).map(({ path }) => path)
  assert.deepEqual(
    readable.filter((path) => !reported.has(path)),
    [],
  )
})

test('a component bears its mark, so that the hub knows it as one', () => {
  for (const each of model[0]?.contents ?? []) {
    if (each['@type'] !== 'Component') continue
    const acknowledgements = ['telemetry.intervalSeconds', 'log.level'].map((key) => ({
      ...{ key, value: 5, ac: 200 as const, av: 1, ad: 'applied' },
    }))
    const facts = { view: viewAuth(authFacts()) }
    const section = buildReported({
      ...{ auth: facts, clock: { trust: 'trusted' }, outbox: emptyLevel, warnings: [] },
      agent: { version: '1', runtime: 'node', arch: 'x64', os: 'linux', startedAtMs: 0 },
      acknowledgements,
    })[each.name]
    assert.ok(isObject(section))
    assert.equal(section['__t'], 'c', each.name)
  }
})

test('what the model calls writable is what the device follows, and nothing else is', () => {
  const writable = properties.filter((property) => property.writable).map(({ path }) => path)
  const sections = ['auth', 'telemetry', 'log']
  const refused = sections.flatMap((section) => {
    const read = readDesired({ [section]: 'no object', $version: 1 })
    return read.ok ? read.value.refusals.map(({ key }) => key) : []
  })
  assert.deepEqual(writable, refused)
})

test('each word that the model offers for a writable property is followed', () => {
  for (const { path, type } of properties.filter((property) => property.writable)) {
    const [section = '', key = ''] = path.split('.')
    for (const [, word = ''] of type.matchAll(/`(\w+)`/g)) {
      const value = word === 'true' || word === 'false' ? word === 'true' : word
      const read = readDesired({ [section]: { [key]: value }, $version: 1 })
      assert.deepEqual(read.ok && read.value.refusals, [], `${path} = ${word}`)
    }
  }
})

test('the commands of the model are the direct methods, with the fields of their payloads', () => {
  const methods = Object.entries<MethodEntry>(methodTable).map(([name, { payload }]) => [
    name,
    Object.keys(payload.entries),
  ])
  assert.deepEqual(commands, Object.fromEntries(methods))
})

test('the telemetry of the model is the message of the device, in its order', () => {
  assert.deepEqual(telemetry, Object.keys(telemetryFields))
})
