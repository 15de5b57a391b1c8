import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDesired } from '../../../agent/twin/desired.ts'
import type { Desired } from '../../../agent/twin/desired.ts'

function read(document: unknown): Desired {
  const result = readDesired(document)
  assert.ok(result.ok)
  return result.value
}

test('a desired document without our keys wishes nothing', () => {
  assert.deepEqual(read({ $version: 1 }), { version: 1, wishes: {}, refusals: [] })
})

test('an interval and a level are read with the version that wished them', () => {
  const document = { telemetry: { intervalSeconds: 15 }, log: { level: 'debug' }, $version: 7 }
  assert.deepEqual(read(document), { version: 7, wishes: { intervalSeconds: 15, logLevel: 'debug' }, refusals: [] })
})

for (const seconds of [1, 86_400]) {
  test(`an interval of ${seconds} s is allowed`, () => {
    assert.deepEqual(read({ telemetry: { intervalSeconds: seconds }, $version: 1 }).wishes, {
      intervalSeconds: seconds,
    })
  })
}

for (const bad of [0, -1, 86_401, 1.5, '60', true, [60], { value: 60 }]) {
  test(`an interval of ${JSON.stringify(bad)} is refused with its value, and the level beside it is followed`, () => {
    const { wishes, refusals } = read({ telemetry: { intervalSeconds: bad }, log: { level: 'warn' }, $version: 3 })
    assert.deepEqual(wishes, { logLevel: 'warn' })
    assert.equal(refusals.length, 1)
    assert.equal(refusals[0]?.key, 'telemetry.intervalSeconds')
    assert.equal(refusals[0].status, 400)
    assert.ok(refusals[0].reason.includes(JSON.stringify(bad)))
    assert.match(refusals[0].reason, /1 to 86400/)
  })
}

for (const bad of ['verbose', 'silent', 'INFO', 30, '', 'toString', '__proto__']) {
  test(`a level of ${JSON.stringify(bad)} is refused, and the interval beside it is followed`, () => {
    const { wishes, refusals } = read({ telemetry: { intervalSeconds: 5 }, log: { level: bad }, $version: 3 })
    assert.deepEqual(wishes, { intervalSeconds: 5 })
    assert.deepEqual(
      refusals.map(({ key, status }) => [key, status]),
      [['log.level', 400]],
    )
  })
}

test('null is no wish, for a key and for a section', () => {
  const document = { telemetry: { intervalSeconds: null }, log: null, $version: 4 }
  assert.deepEqual(read(document), { version: 4, wishes: {}, refusals: [] })
})

test('a section that is no object is refused under the keys that it would have had', () => {
  const { refusals, wishes } = read({ telemetry: 60, log: ['info'], $version: 4 })
  assert.deepEqual(wishes, {})
  assert.deepEqual(
    refusals.map(({ key, status }) => [key, status]),
    [
      ['telemetry.intervalSeconds', 400],
      ['log.level', 400],
    ],
  )
})

test('an unknown key of a section is answered, so that a typing error is seen', () => {
  const { refusals, wishes } = read({ telemetry: { intervalSecond: 5, intervalSeconds: 6 }, $version: 4 })
  assert.deepEqual(wishes, { intervalSeconds: 6 })
  assert.deepEqual(
    refusals.map(({ key, status }) => [key, status]),
    [['telemetry.intervalSecond', 404]],
  )
  assert.match(refusals[0]?.reason ?? '', /intervalSeconds/)
})

test('sections of others are none of our business', () => {
  const document = { myApp: { a: 1 }, telemetryX: 3, authentication: { mode: 7 }, $version: 4 }
  assert.deepEqual(read(document), { version: 4, wishes: {}, refusals: [] })
})

test('mode, renew and the end of SAS are read with the version that wished them', () => {
  for (const mode of ['x509', 'sas'] as const) {
    const auth = { mode, renew: '2026-11', sasRetired: true }
    assert.deepEqual(read({ auth, $version: 7 }), { version: 7, wishes: { auth }, refusals: [] })
  }
})

test('each wish about credentials stands alone', () => {
  assert.deepEqual(read({ auth: { mode: 'sas' }, $version: 7 }).wishes, { auth: { mode: 'sas' } })
  assert.deepEqual(read({ auth: { renew: 'x' }, $version: 7 }).wishes, { auth: { renew: 'x' } })
  assert.deepEqual(read({ auth: { sasRetired: true }, $version: 7 }).wishes, { auth: { sasRetired: true } })
})

test('SAS that is not to be retired, null and an absent key are no wish and no refusal', () => {
  for (const auth of [{}, null, { mode: null, renew: null, sasRetired: null }, { sasRetired: false }]) {
    assert.deepEqual(read({ auth, $version: 7 }), { version: 7, wishes: {}, refusals: [] }, JSON.stringify(auth))
  }
})

const badAuth: readonly (readonly [key: string, value: unknown])[] = [
  ...['X509', 'x.509', '', 'toString', 509, true, ['x509'], { value: 'x509' }].map((bad) => ['mode', bad] as const),
  ...['', 7, true, {}, 'r'.repeat(129)].map((bad) => ['renew', bad] as const),
  ...['true', 1, 0, {}, []].map((bad) => ['sasRetired', bad] as const),
]

for (const [key, bad] of badAuth) {
  test(`auth.${key} ${JSON.stringify(bad).slice(0, 20)} is refused, and what stands beside it is followed`, () => {
    const good = { mode: 'x509', renew: 'r'.repeat(128), sasRetired: true } as const
    const { [key as keyof typeof good]: _replaced, ...others } = good
    const { wishes, refusals } = read({ auth: { ...good, [key]: bad }, log: { level: 'warn' }, $version: 3 })
    assert.deepEqual(wishes, { auth: others, logLevel: 'warn' })
    assert.deepEqual(
      refusals.map((refusal) => [refusal.key, refusal.status]),
      [[`auth.${key}`, 400]],
    )
    assert.ok(refusals[0]?.reason.includes(JSON.stringify(bad).slice(0, 70)))
  })
}

test('an auth section that is no object refuses its three keys, and an unknown key in one is answered', () => {
  assert.deepEqual(
    read({ auth: 'x509', $version: 3 }).refusals.map(({ key, status }) => [key, status]),
    [
      ['auth.mode', 400],
      ['auth.renew', 400],
      ['auth.sasRetired', 400],
    ],
  )
  const { wishes, refusals } = read({ auth: { mode: 'x509', method: 'x509' }, $version: 3 })
  assert.deepEqual(wishes, { auth: { mode: 'x509' } })
  assert.deepEqual(
    refusals.map(({ key, status }) => [key, status]),
    [['auth.method', 404]],
  )
})

test('the marker of a component is no setting', () => {
  const document = { telemetry: { __t: 'c', intervalSeconds: 5 }, auth: { __t: 'c', mode: 'x509' }, $version: 3 }
  assert.deepEqual(read(document).refusals, [])
})

test('thousands of unknown keys have eight answers', () => {
  const section = Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`k${at}`, at]))
  assert.equal(read({ telemetry: section, log: section, $version: 4 }).refusals.length, 16)
})

for (const bad of [undefined, null, 7, 'text', [], {}, { $version: '1' }, { $version: 1.5 }]) {
  test(`${JSON.stringify(bad)} is no desired document`, () => {
    const result = readDesired(bad)
    assert.equal(result.ok, false)
    assert.ok(!result.ok && result.problems.length === 1)
  })
}
