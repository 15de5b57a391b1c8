/** Broken input from clients: seeded, bounded, and always answered by the rules instead of an exception. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseQuery } from '../cloud/service/query-parse.ts'
import { runQuery } from '../cloud/service/query-run.ts'
import { signSas, verifySas } from '../cloud/sas.ts'
import { createBench, createDevice, helloOf, ID_SCOPE, NOW_MS } from './cloud-dps-kit.ts'

const SEED = 20_260_601
const ROUNDS = 3000
const KEY = Buffer.alloc(32, 6).toString('base64')
const TOKEN = signSas({
  ...{ resource: `${ID_SCOPE}/registrations/edge-0042`, key: KEY, skn: 'registration' },
  expiresAtSeconds: NOW_MS / 1000 + 3600,
})

/** Mulberry32: numbers below `limit` that are the same in every run. */
function createRandom(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

const PIECES = [
  '',
  '%',
  '%2',
  '%ff',
  '&',
  '=',
  '/',
  '?',
  '#',
  '+',
  '$rid',
  '{',
  '}',
  '"',
  "'",
  '(',
  '\0',
  'é',
  '\u{1f600}',
  '..',
  'null',
]

/** Cuts, doubles or inserts, one to four times. */
function mutate(text: string, random: (limit: number) => number): string {
  let mutated = text
  for (let turn = random(4) + 1; turn > 0; turn -= 1) {
    const at = random(mutated.length + 1)
    const to = at + random(5)
    const piece = PIECES[random(PIECES.length)] ?? ''
    mutated = mutated.slice(0, at) + (random(3) === 0 ? mutated.slice(at, to).repeat(3) : piece) + mutated.slice(to)
  }
  return mutated
}

test('DPS answers mutated topics and bodies by its statuses or closes', async () => {
  const random = createRandom(SEED)
  const bench = createBench()
  bench.faults.set('pollsPerTenSeconds', 0)
  const symmetricKey = { primaryKey: KEY, secondaryKey: KEY }
  bench.dps.enrollments.put('individual', 'edge-0042', { attestation: { type: 'symmetricKey', symmetricKey } })
  const topics = [
    '$dps/registrations/PUT/iotdps-register/?$rid=1',
    '$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=5.91f2a0c3d4e5b617.8d7a',
  ]
  const seen = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round += 1) {
    const device = createDevice(bench.dps, { password: TOKEN })
    const topic = topics[random(2)] ?? ''
    const message = {
      topic: random(2) === 0 ? mutate(topic, random) : topic,
      payload: Buffer.from(mutate('{"registrationId":"edge-0042","payload":{"a":[1,2]}}', random)),
      qos: 1 as const,
      retain: false,
    }
    const rejected = bench.dps.rejects?.(device.link, message)
    const answers = rejected === undefined ? await device.publish(message.topic, message.payload) : []
    for (const answer of answers) assert.doesNotThrow(() => JSON.parse(answer.text), answer.text)
    const outcome = rejected === undefined ? answers.map((answer) => answer.status).join() : 'closed'
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
  }
  assert.deepEqual([...seen.keys()].toSorted(), ['202', '400', '404', 'closed'])
})

test('mutated user names and passwords get a verdict and never a registration', async () => {
  const random = createRandom(SEED + 1)
  const bench = createBench()
  bench.faults.set('dpsCredentialRefusal', 'connack')
  const username = `${ID_SCOPE}/registrations/edge-0042/api-version=2019-03-31&ClientVersion=test`
  for (let round = 0; round < ROUNDS; round += 1) {
    const hello = helloOf({ username: mutate(username, random), password: mutate(TOKEN, random) })
    const verdict = await bench.dps.authorize(hello)
    assert.ok(!verdict.accepted && (verdict.returnCode === 4 || verdict.returnCode === 5))
  }
})

test('no mutated token passes unless it says the same', () => {
  const random = createRandom(SEED + 2)
  const resource = `${ID_SCOPE}/registrations/edge-0042`
  const original = verifySas(TOKEN, { keys: [KEY], resource, scope: 'exact', ignoreCase: 'all', nowMs: NOW_MS })
  assert.ok(original.ok)
  for (let round = 0; round < ROUNDS; round += 1) {
    const mutated = mutate(TOKEN, random)
    const result = verifySas(mutated, { keys: [KEY], resource, scope: 'exact', ignoreCase: 'all', nowMs: NOW_MS })
    if (!result.ok) continue
    const { sr, expiresAtSeconds } = result.value
    assert.deepEqual(
      { sr, expiresAtSeconds },
      { sr: original.value.sr, expiresAtSeconds: original.value.expiresAtSeconds },
    )
  }
})

test('mutated queries are run or refused with a sentence', () => {
  const random = createRandom(SEED + 3)
  const query =
    "SELECT deviceId, COUNT() AS n FROM devices WHERE tags.a = 'x' AND NOT (b IN [1, 2] OR is_defined(c.d)) GROUP BY deviceId"
  let run = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const parsed = parseQuery(mutate(query, random))
    if (parsed.ok) run += runQuery(parsed.value, [{ deviceId: 'a', tags: { a: 'x' }, b: 3 }]).length
    else assert.match(parsed.problem, /\w/)
  }
  assert.ok(run > 0)
})
