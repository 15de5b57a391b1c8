/** A registration that is only rehearsed: everything but the registration. */
import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import { reachDps } from '../../agent/provision/reach.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { RegistrationRequest } from '../../agent/provision/dps.ts'
import { startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

let bench: Bench
let device: Device

before(async () => {
  bench = await startBench()
  device = await bench.device('edge-9')
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

function request(more: Partial<RegistrationRequest> = {}): RegistrationRequest {
  const { chainPem, keyPem } = device.credential
  const { dpsAddress: host, idScope } = bench.cloud
  const credential = { lane: 'x509', chainPem, keyPem } as const
  const common = { host, idScope, registrationId: 'edge-9', credential, ca: bench.ca, clock: systemClock }
  return { ...common, deadlineMs: 5_000, ...more }
}

const reach = (more: Partial<RegistrationRequest> = {}) => reachDps(request(more), new AbortController().signal)

test('a DPS that answers CONNECT is reached, and nothing is registered', async () => {
  const since = bench.cloud.record.seq()
  assert.equal(await reach(), undefined)
  await bench.deserted()
  const kinds = bench.cloud.record.events(since).map(({ kind }) => kind)
  assert.deepEqual(kinds, ['connected', 'disconnected'])
})

test('what stands in the way is named: a closed port, an untrusted server, a refusal, silence', async () => {
  const codes: (string | undefined)[] = [(await reach({ host: 'dps.localhost:1' }))?.code]
  const { ca: _none, ...untrusting } = request()
  codes.push((await reachDps(untrusting, new AbortController().signal))?.code)
  bench.cloud.faults.set('connectRefusal', 5)
  codes.push((await reach())?.code)
  bench.calm()
  bench.cloud.faults.set('connectSilence', 'dps')
  codes.push((await reach({ deadlineMs: 300 }))?.code)
  assert.deepEqual(codes, ['NETWORK_REFUSED', 'TLS_SERVER_UNTRUSTED', 'DPS_REFUSED_CONNECTION', 'DPS_NO_ANSWER'])
})

test('a rehearsal with a symmetric key signs for the registration, as the record of the cloud shows', async () => {
  const key = createSecretKey(Buffer.alloc(32, 7))
  assert.equal(await reach({ credential: { lane: 'sas', key } }), undefined)
  const sent = bench.cloud.received().toString('latin1')
  assert.match(sent, /skn=registration/)
  assert.ok(!sent.includes(key.export().toString('base64')))
})
