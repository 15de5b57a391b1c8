import assert from 'node:assert/strict'
import test from 'node:test'
import { judgeMachineIdentity, machineChanged } from '../../../agent/credential/machine.ts'
import { parseMachineRecord } from '../../../agent/credential/machine-record.ts'
import type { MachineIdentity } from '../../../agent/system/machine-kind.ts'

const [a, b, c] = [['aaaa'], ['bbbb'], ['cccc']]

/** Recorded, seen, and the record that comes of it. */
const same: readonly (readonly [string, MachineIdentity, MachineIdentity, MachineIdentity])[] = [
  ['nothing is recorded: what is seen becomes the record', {}, { macs: a }, { macs: a }],
  ['nothing is recorded and nothing seen', {}, {}, {}],
  ['one kind, the same', { productUuid: a }, { productUuid: a }, { productUuid: a }],
  [
    'a weaker kind differs: the strongest decides, and both cards belong to the machine',
    { deviceTreeSerial: a, macs: b },
    { deviceTreeSerial: a, macs: c },
    { deviceTreeSerial: a, macs: ['bbbb', 'cccc'] },
  ],
  [
    'the strongest kind cannot be read now: the next one decides, and the record keeps it',
    { deviceTreeSerial: a, macs: b },
    { macs: b },
    { deviceTreeSerial: a, macs: b },
  ],
  [
    'a stronger kind is seen for the first time: it completes the record',
    { macs: b },
    { productUuid: a, macs: b },
    { productUuid: a, macs: b },
  ],
  [
    'one address of several is enough, and one that was taken out stays recorded',
    { macs: ['m1', 'm2'] },
    { macs: ['m2', 'm3'] },
    { macs: ['m1', 'm2', 'm3'] },
  ],
]

for (const [name, recorded, seen, complete] of same) {
  test(`the same machine: ${name}`, () => {
    assert.deepEqual(judgeMachineIdentity(recorded, seen), { verdict: 'same', complete })
  })
}

const changed: readonly (readonly [string, MachineIdentity, MachineIdentity, string])[] = [
  ['another serial number', { deviceTreeSerial: a }, { deviceTreeSerial: b }, 'deviceTreeSerial'],
  [
    'another serial number, though an adapter on USB moved with the card',
    { deviceTreeSerial: a, macs: c },
    { deviceTreeSerial: b, macs: c },
    'deviceTreeSerial',
  ],
  [
    'another UUID, where the serial number is hidden',
    { deviceTreeSerial: a, productUuid: a },
    { productUuid: b },
    'productUuid',
  ],
  [
    'another UUID of one serial number',
    { productUuid: a, productSerial: c },
    { productUuid: b, productSerial: c },
    'productUuid',
  ],
  ['another processor', { socSerial: a, macs: c }, { socSerial: b, macs: c }, 'socSerial'],
  ['no address in common', { macs: ['m1', 'm2'] }, { macs: ['m3', 'm4'] }, 'macs'],
]

for (const [name, recorded, seen, kind] of changed) {
  test(`another machine: ${name}`, () => {
    const judged = judgeMachineIdentity(recorded, seen)
    assert.ok(judged.verdict === 'changed')
    assert.equal(judged.difference.kind, kind)
  })
}

test('nothing in common to compare shuts nobody out, and teaches nothing', () => {
  assert.deepEqual(judgeMachineIdentity({ deviceTreeSerial: a }, { macs: b }), { verdict: 'unknown' })
  assert.deepEqual(judgeMachineIdentity({ deviceTreeSerial: a }, {}), { verdict: 'unknown' })
})

const address = (n: number) => `00:00:00:00:00:${String(n).padStart(2, '0')}`

test('addresses of adapters that come and go do not fill the record', () => {
  let record: MachineIdentity = { macs: [address(0)] }
  for (let n = 1; n < 50; n += 1) {
    const judged = judgeMachineIdentity(record, { macs: [address(0), address(n)] })
    assert.ok(judged.verdict === 'same')
    record = judged.complete
  }
  assert.equal(record.macs?.length, 16)
  assert.ok(record.macs.includes(address(0)) && record.macs.includes(address(49)), 'those of now stay')
})

test('the failure names the kind, what was recorded, and what is here', () => {
  const failure = machineChanged({ kind: 'deviceTreeSerial', recorded: ['10000000aaaa'], seen: ['10000000bbbb'] })
  assert.equal(failure.code, 'MACHINE_CHANGED')
  assert.match(failure.message, /device tree.*10000000aaaa.*10000000bbbb/)
  assert.deepEqual(failure.context, { kind: 'deviceTreeSerial', recorded: '10000000aaaa', seen: '10000000bbbb' })
})

test('a record is of version 1 and holds texts; everything else is torn', () => {
  const text = JSON.stringify({ version: 1, at: '2026-01-01T00:00:00.000Z', machine: { macs: ['m1'], later: 1 } })
  assert.deepEqual(parseMachineRecord(text), { macs: ['m1'] })
  const torn = [
    '',
    '{',
    'null',
    '[]',
    text.slice(0, -2),
    text.replace('"version":1', '"version":2'),
    '{"version":1}',
    '{"version":1,"machine":{"macs":"m1"}}',
    '{"version":1,"machine":{"macs":[]}}',
    '{"version":1,"machine":{"macs":[""]}}',
    '{"version":1,"machine":{"productUuid":[7]}}',
  ]
  for (const each of torn) assert.equal(parseMachineRecord(each), undefined, each)
})
