import assert from 'node:assert/strict'
import { test } from 'node:test'

import { startCloud } from '../cloud/cloud.ts'
import { createTwin, mergePatch, patchBetween, sectionProblem, type Document } from '../cloud/hub/twin.ts'
import { ServiceError } from '../cloud/model.ts'
import { connectDevice, nextPublish, publication, subscribe, type WireClient } from './cloud-client.ts'

const RESPONSES = '$iothub/twin/res/#'
const DESIRED = '$iothub/twin/PATCH/properties/desired/#'

async function startWithClient() {
  const cloud = await startCloud()
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign(
    'edge-1',
    { type: 'certificateAuthority' },
    { tags: { site: 'a' }, properties: { desired: { n: 1 } } },
  )
  const client = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  await subscribe(client, [RESPONSES])
  return Object.assign(cloud, { client, credential })
}

async function getTwin(client: WireClient) {
  client.send(publication('$iothub/twin/GET/?$rid=g', ' '))
  const answer = await nextPublish(client)
  assert.equal(answer.topic, '$iothub/twin/res/200/?$rid=g')
  return JSON.parse(answer.text) as { desired: Document; reported: Document }
}

async function report(client: WireClient, patch: unknown, rid = 'p') {
  client.send(
    publication(
      `$iothub/twin/PATCH/properties/reported/?$rid=${rid}`,
      typeof patch === 'string' ? patch : JSON.stringify(patch),
    ),
  )
  return nextPublish(client)
}

const merged = (patch: Document) => mergePatch({}, patch)

const hasCode = (code: number) => (error: unknown) => error instanceof ServiceError && error.code === code

test('a new twin shows desired and reported with version 1, and no tags', async () => {
  await using cloud = await startWithClient()
  assert.deepEqual(await getTwin(cloud.client), { desired: { n: 1, $version: 1 }, reported: { $version: 1 } })
})

test('a reported patch is answered with 204, its version and no body, and merges', async () => {
  await using cloud = await startWithClient()
  const first = await report(cloud.client, { a: { b: 1, c: 2 }, list: [1, 2, 3] })
  assert.deepEqual([first.topic, first.text], ['$iothub/twin/res/204/?$rid=p&$version=2', ''])
  const second = await report(cloud.client, { a: { b: null, d: 3 }, list: [9] })
  assert.equal(second.topic, '$iothub/twin/res/204/?$rid=p&$version=3')
  const { reported } = await getTwin(cloud.client)
  assert.deepEqual(reported, { a: { c: 2, d: 3 }, list: [9], $version: 3 })
  const event = await cloud.record.waitFor((each) => each.kind === 'reported' && each.version === 3)
  assert.ok(event.kind === 'reported')
  assert.deepEqual(event.patch, { a: { b: null, d: 3 }, list: [9] })
})

for (const [what, body, code] of [
  ['no JSON', '{"a":', 400006],
  ['an empty body', '', 400006],
  ['an array', '[1]', 400004],
  ['a number', '7', 400004],
  ['a key with a dollar sign', '{"$version":4}', 400004],
  ['a key with a point', '{"a.b":1}', 400004],
  ['a key with a space', '{"a b":1}', 400004],
  ['a key with a control character', '{"a\\u0001":1}', 400004],
  ['a bad key below a good one', '{"a":{"b":[{"$c":1}]}}', 400004],
  ['a key of more than 1 KB', JSON.stringify({ ['k'.repeat(1025)]: 1 }), 400004],
  ['a string of more than 4 KB', JSON.stringify({ s: 'x'.repeat(4097) }), 400004],
  ['an integer beyond the range', '{"n":4503599627370497}', 400004],
  ['eleven levels', JSON.stringify(nested(11)), 400004],
  ['more than 32 KB', JSON.stringify(Object.fromEntries(range(9).map((key) => [`k${key}`, 'x'.repeat(4096)]))), 400004],
] as const)
  test(`a reported patch is refused with 400 and leaves the twin as it was: ${what}`, async () => {
    await using cloud = await startWithClient()
    const answer = await report(cloud.client, body)
    assert.equal(answer.topic, '$iothub/twin/res/400/?$rid=p')
    const error = JSON.parse(answer.text) as Document
    assert.equal(error['errorCode'], code)
    assert.equal(typeof error['message'], 'string')
    assert.deepEqual((await getTwin(cloud.client)).reported, { $version: 1 })
  })

test('what is just within the limits passes', () => {
  for (const patch of [
    { ['k'.repeat(1024)]: 1 },
    { s: 'x'.repeat(4096) },
    { low: -4_503_599_627_370_496, high: 4_503_599_627_370_496 },
    nested(10),
    { fraction: -0.5, list: [true, null, 'x'] },
    Object.fromEntries(range(7).map((key) => [`k${key}`, 'x'.repeat(4096)])),
  ])
    assert.equal(sectionProblem('reported', patch, merged), undefined)
  assert.match(sectionProblem('tags', { a: 'x'.repeat(4096), b: 'x'.repeat(4096) }, merged) ?? '', /the limit is 8192/)
})

test('the size counts what the merge leaves, not what the patch holds', async () => {
  await using cloud = await startWithClient()
  const chunk = (from: number) => Object.fromEntries(range(4).map((key) => [`k${from + key}`, 'x'.repeat(4000)]))
  assert.match((await report(cloud.client, chunk(0))).topic, /204/)
  assert.match((await report(cloud.client, chunk(4))).topic, /204/)
  assert.match((await report(cloud.client, chunk(8))).topic, /400/)
  const trade = { ...Object.fromEntries(range(4).map((key) => [`k${key}`, null])), ...chunk(8) }
  assert.match((await report(cloud.client, trade)).topic, /204/)
})

test('a merge patch with __proto__ is data like any other', () => {
  const patch = JSON.parse('{"__proto__":{"polluted":true}}') as Document
  const merged = mergePatch({}, patch)
  assert.equal(({} as Document)['polluted'], undefined)
  assert.equal(JSON.stringify(merged), '{"__proto__":{"polluted":true}}')
})

test('a desired change is pushed with its version to a device that subscribed, nulls included', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [DESIRED])
  const after = cloud.hub.patchTwin('edge-1', { desired: { n: null, mode: 'x509' }, tags: { site: 'b' } })
  assert.deepEqual([after.desiredVersion, after.tags], [2, { site: 'b' }])
  const push = await nextPublish(cloud.client)
  assert.equal(push.topic, '$iothub/twin/PATCH/properties/desired/?$version=2')
  assert.deepEqual(JSON.parse(push.text), { n: null, mode: 'x509', $version: 2 })
  assert.deepEqual((await getTwin(cloud.client)).desired, { mode: 'x509', $version: 2 })
})

test('a change of tags alone is not pushed and does not touch the desired version', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [DESIRED])
  const before = createTwin(undefined)
  const after = cloud.hub.patchTwin('edge-1', { tags: { wave: 'pilot' } })
  assert.deepEqual([after.desiredVersion, after.version], [before.desiredVersion, before.version + 1])
  assert.deepEqual((await getTwin(cloud.client)).desired, { n: 1, $version: 1 })
})

test('a desired change is not kept for a device that did not subscribe or is away', async () => {
  await using cloud = await startWithClient()
  cloud.hub.patchTwin('edge-1', { desired: { missed: true } })
  await subscribe(cloud.client, [DESIRED])
  assert.deepEqual((await getTwin(cloud.client)).desired, { n: 1, missed: true, $version: 2 })
})

test('a replaced desired section is pushed with nulls for what went', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [DESIRED])
  cloud.hub.patchTwin('edge-1', { desired: { kept: { a: 1 } } }, true)
  assert.deepEqual(JSON.parse((await nextPublish(cloud.client)).text), { n: null, kept: { a: 1 }, $version: 2 })
  assert.deepEqual((await getTwin(cloud.client)).desired, { kept: { a: 1 }, $version: 2 })
})

test('the patch between two documents turns one into the other', () => {
  const before = { a: 1, b: { c: 1, d: { e: 2 } }, f: [1, 2] }
  const after = { b: { d: { g: 3 } }, f: [2], h: 'new' }
  assert.deepEqual(mergePatch(before, patchBetween(before, after)), after)
})

test('the service side is held to the same limits, with the code in the error', async () => {
  await using cloud = await startWithClient()
  assert.throws(() => cloud.hub.patchTwin('edge-1', { desired: { 'a.b': 1 } }), hasCode(400004))
  assert.throws(() => cloud.hub.patchTwin('edge-1', { tags: nested(11) }), hasCode(400004))
  assert.throws(() => cloud.hub.patchTwin('edge-404', { tags: {} }), hasCode(404001))
  assert.equal(cloud.hub.twin('edge-1')?.version, 2, 'a refused patch changes nothing')
})

test('the fault twinAnswer replaces answers by status, and silence hides what took effect', async () => {
  await using cloud = await startWithClient()
  for (const [fault, topic, errorCode] of [
    ['400', '$iothub/twin/res/400/?$rid=p', 400004],
    ['429', '$iothub/twin/res/429/?$rid=p', 429001],
    ['500', '$iothub/twin/res/500/?$rid=p', 500001],
  ] as const) {
    cloud.faults.set('twinAnswer', fault)
    const answer = await report(cloud.client, { a: 1 })
    assert.deepEqual([answer.topic, (JSON.parse(answer.text) as Document)['errorCode']], [topic, errorCode])
  }
  cloud.faults.set('twinAnswer', '404empty')
  const empty = await report(cloud.client, { a: 1 })
  assert.deepEqual([empty.topic, empty.text], ['$iothub/twin/res/404/?$rid=p', ''])
  cloud.faults.set('twinAnswer', 'malformed')
  const malformed = await report(cloud.client, { b: 1 })
  assert.throws(() => JSON.parse(malformed.text) as unknown, SyntaxError)
  cloud.faults.set('twinAnswer', 'silence')
  cloud.client.send(publication('$iothub/twin/PATCH/properties/reported/?$rid=s', '{"c":1}'))
  await cloud.record.waitFor((event) => event.kind === 'reported' && event.version === 3)
  cloud.faults.reset()
  assert.deepEqual((await getTwin(cloud.client)).reported, { b: 1, c: 1, $version: 3 })
})

test('the fault desiredPush loses a push, or breaks its body', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [DESIRED])
  cloud.faults.set('desiredPush', 'lost')
  cloud.hub.patchTwin('edge-1', { desired: { a: 1 } })
  cloud.faults.set('desiredPush', 'malformed')
  cloud.hub.patchTwin('edge-1', { desired: { a: 2 } })
  const push = await nextPublish(cloud.client)
  assert.equal(push.topic, '$iothub/twin/PATCH/properties/desired/?$version=3')
  assert.throws(() => JSON.parse(push.text) as unknown, SyntaxError)
})

function nested(levels: number): Document {
  return levels === 0 ? { end: 1 } : { a: nested(levels - 1) }
}

function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index)
}
