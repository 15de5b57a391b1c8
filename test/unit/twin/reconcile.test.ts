import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDesired } from '../../../agent/twin/desired.ts'
import { reconcile } from '../../../agent/twin/reconcile.ts'
import type { Reconciliation, Settings } from '../../../agent/twin/reconcile.ts'

const configured: Settings = { intervalSeconds: 60, logLevel: 'info' }

function reconciled(document: object, current: Settings = configured): Reconciliation {
  const desired = readDesired(document)
  assert.ok(desired.ok)
  return reconcile({ desired: desired.value, configured, current })
}

test('a wish is done and answered with 200, its value and its version', () => {
  assert.deepEqual(reconciled({ telemetry: { intervalSeconds: 5 }, log: { level: 'debug' }, $version: 9 }), {
    actions: [
      { do: 'setInterval', seconds: 5 },
      { do: 'setLogLevel', level: 'debug' },
    ],
    acknowledgements: [
      { key: 'telemetry.intervalSeconds', value: 5, ac: 200, av: 9, ad: 'applied' },
      { key: 'log.level', value: 'debug', ac: 200, av: 9, ad: 'applied' },
    ],
  })
})

test('what applies already is answered and not done again', () => {
  const { actions, acknowledgements } = reconciled({ telemetry: { intervalSeconds: 60 }, $version: 2 })
  assert.deepEqual(actions, [])
  assert.deepEqual(acknowledgements, [{ key: 'telemetry.intervalSeconds', value: 60, ac: 200, av: 2, ad: 'applied' }])
})

test('a wish that is gone gives way to the configuration, and its answer goes with it', () => {
  assert.deepEqual(reconciled({ $version: 3 }, { intervalSeconds: 5, logLevel: 'debug' }), {
    actions: [
      { do: 'setInterval', seconds: 60 },
      { do: 'setLogLevel', level: 'info' },
    ],
    acknowledgements: [],
  })
})

test('a refused wish changes nothing, is answered with what applies, and leaves the other alone', () => {
  const document = { telemetry: { intervalSeconds: 0 }, log: { level: 'warn' }, $version: 4 }
  const { actions, acknowledgements } = reconciled(document, { intervalSeconds: 5, logLevel: 'info' })
  assert.deepEqual(actions, [{ do: 'setLogLevel', level: 'warn' }])
  const answer = acknowledgements.find(({ key }) => key === 'telemetry.intervalSeconds')
  assert.equal(answer?.value, 5)
  assert.equal(answer.ac, 400)
  assert.equal(answer.av, 4)
  assert.match(answer.ad, /whole number/)
})

test('a refused level leaves the one that applies, not the configured one', () => {
  const { actions, acknowledgements } = reconciled(
    { log: { level: 'loud' }, $version: 5 },
    { intervalSeconds: 60, logLevel: 'debug' },
  )
  assert.deepEqual(actions, [])
  assert.deepEqual(
    acknowledgements.map(({ key, ac, value }) => [key, ac, value]),
    [['log.level', 400, 'debug']],
  )
})

test('an unknown setting is answered with 404 and no value', () => {
  const { actions, acknowledgements } = reconciled({ log: { colour: true }, $version: 4 })
  assert.deepEqual(actions, [])
  assert.deepEqual(
    acknowledgements.map(({ key, ac, av, value }) => [key, ac, av, value]),
    [['log.colour', 404, 4, undefined]],
  )
})

test('what is wished about credentials is no setting: it is done and answered elsewhere', () => {
  const { actions, acknowledgements } = reconciled({ auth: { mode: 'x-509', renew: 'a', colour: 1 }, $version: 4 })
  assert.deepEqual([actions, acknowledgements], [[], []])
})
