/**
 * The whole life of a device on one kind of key: birth, provisioning, telemetry, two renewals and a rollback. Run by
 * `scripts/test-tokens` once for each kind, in a Debian that has what it takes; KEY_STORE says which.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  ended,
  install,
  makeUnit,
  reported,
  requestOf,
  SECOND,
  startBed,
  steady,
  wish,
} from '../integration/transition-kit.ts'
import type { Bed, ReportedAuth, Unit } from '../integration/transition-kit.ts'
import { assertOneAtATime } from '../integration/transition-record.ts'
import { makeRoot, makeTemporaryFolder } from '../kit/openssl.ts'
import { inspectPkcs11, inspectTpm, keyLabels, keyStoreToml } from './stores.ts'
import type { StoreName } from './stores.ts'

const store = process.env['KEY_STORE'] as StoreName

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())

const keyOf = (unit: Unit, generation: number) => unit.device.read(`credentials/gen-000${generation}/key.pem`)

/** Renews by the twin with whatever signs; what the twin says afterwards. */
async function renew(unit: Unit, name: string, sign?: (csr: string) => Promise<string>): Promise<ReportedAuth> {
  const version = wish(unit, { mode: 'x509', renew: name })
  await requestOf(unit)
  await install(unit, sign)
  return ended(unit, version)
}

/**
 * Lets the time of the device pass, second by second: pkcs11-provider and SoftHSM fail an operation now and then, which is tried
 * again after its pause.
 */
function timeFor({ bed, clock }: Unit): AsyncDisposable {
  let isOver = false
  const run = async () => {
    for (let lastMs = performance.now(); !isOver;) {
      await new Promise((resolve) => setImmediate(resolve))
      if (performance.now() - lastMs < 30) continue
      lastMs = performance.now()
      bed.shift(SECOND)
      await clock.advance(SECOND)
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      isOver = true
      await running
    },
  }
}

test(`a device whose keys are in ${store} is certified, sends, renews twice and rolls back`, async () => {
  await using folder = await makeTemporaryFolder()
  const stranger = await makeRoot(folder.path, 'Somebody else')
  await using unit = await makeUnit(bed, `life-${store}`, { toml: keyStoreToml[store] })
  await using _time = timeFor(unit)
  unit.boot()
  await steady(unit)

  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  const born = await ended(unit, version)
  assert.deepEqual([born.mode, born.lastAttempt?.result], ['x509', 'active'])
  await steady(unit)

  for (const [generation, name] of [
    [2, 'once'],
    [3, 'twice'],
  ] as const) {
    const auth = await renew(unit, name)
    assert.equal(auth.lastAttempt?.result, 'active')
    assert.notEqual(await keyOf(unit, generation), await keyOf(unit, generation - 1))
    await steady(unit)
  }

  const refused = await renew(unit, 'by a stranger', (csr) => stranger.sign(csr))
  assert.notEqual(refused.lastAttempt?.result, 'active')
  assert.equal(refused.lastAttempt?.code, 'DPS_UNAUTHORIZED')
  await steady(unit)
  assertOneAtATime(unit)

  const certificate = (await reported(unit, ({ state }) => state === 'active')).certificate as unknown as {
    readonly keyStore: string
  }
  assert.equal(certificate.keyStore, store === 'engine' ? 'pkcs11' : store)
  for (const generation of [1, 2, 3]) assert.ok((await keyOf(unit, generation)).startsWith(keyLabels[store]))
  if (store === 'pkcs11' || store === 'engine') {
    const { sealed, open } = await inspectPkcs11()
    assert.ok(sealed >= 4 && open === 0, `${sealed} sealed, ${open} open`)
  }
  if (store === 'tpm')
    assert.match(await inspectTpm(folder.path, await keyOf(unit, 3)), /fixedtpm\|fixedparent\|sensitivedataorigin/)
})

test('a device on a file key moves to this place by a renewal like any other', async () => {
  await using unit = await makeUnit(bed, `moves-${store}`, { toml: keyStoreToml.file })
  await using _time = timeFor(unit)
  unit.boot()
  await steady(unit)
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await ended(unit, version)
  await steady(unit)
  await unit.agent().stop()
  await unit.device.configure(keyStoreToml[store])
  unit.boot()
  await steady(unit)
  assert.ok((await keyOf(unit, 1)).startsWith(keyLabels.file))
  const auth = await renew(unit, 'into the token')
  assert.equal(auth.lastAttempt?.result, 'active')
  assert.ok((await keyOf(unit, 2)).startsWith(keyLabels[store]))
  await steady(unit)
})
