import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseInterfaces, parseSignals } from '../../../agent/telemetry/metrics/network.ts'
import { measureFiles } from '../../kit/kernel-files.ts'

const line = (name: string) => `${name}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n`

test('the counters are those of the header: bytes, packets, errors and drops, received first', () => {
  assert.deepEqual(Object.fromEntries(parseInterfaces(line('eth0'))), {
    eth0: { rxBytes: 1, rxErrors: 3, rxDropped: 4, txBytes: 9, txErrors: 11, txDropped: 12 },
  })
})

test('a counter that stands at the colon, as a large one does, is read', () => {
  assert.equal(parseInterfaces(line(' enp1s0').replace(': ', ':')).get('enp1s0')?.rxBytes, 1)
})

const internal = [
  'lo',
  'veth1a2b3c',
  'docker0',
  'br-5f21c0de1a2b',
  'virbr0',
  'vnet3',
  'cni0',
  'flannel.1',
  'ifb0',
  'sit0',
]
const shown = [
  'eth0',
  'enp3s0',
  'wlan0',
  'wwan0',
  'ppp0',
  'wg0',
  'tun0',
  'bond0',
  'br0',
  'eth0.100',
  'can0',
  'usb0',
  'lowpan0',
]

test('interfaces of containers, virtual machines and the kernel are left out, those of an operator are not', () => {
  assert.deepEqual([...parseInterfaces([...internal, ...shown].map(line).join('')).keys()], shown)
})

test('a machine of hundreds of interfaces names 16', async () => {
  const many = Array.from({ length: 300 }, (_, place) => line(`eth${place}`)).join('')
  const names = Object.keys((await measureFiles({ 'proc/net/dev': many })).network ?? {})
  assert.deepEqual(
    names,
    Array.from({ length: 16 }, (_, place) => `eth${place}`),
  )
})

test('what is not what the kernel writes is no interface', () => {
  for (const text of [undefined, '', 'eth0', 'eth0: 1 2 3', 'eth0: a b c d e f g h i j k l', 'face |bytes: 1']) {
    assert.deepEqual([...parseInterfaces(text)], [], text)
  }
})

const states: readonly (readonly [state: string | undefined, carrier: string | undefined, up: boolean | undefined])[] =
  [
    ['up', '1', true],
    ['down', '0', false],
    ['dormant', '1', false],
    ['lowerlayerdown', undefined, false],
    ['unknown', '1', true],
    ['unknown', '0', false],
    ['unknown', undefined, false],
    [undefined, undefined, undefined],
  ]

for (const [state, carrier, up] of states) {
  test(`an interface that is ${state ?? 'not described'}, carrier ${carrier ?? 'unreadable'}: up is ${up ?? 'absent'}`, async () => {
    const metrics = await measureFiles({
      'proc/net/dev': line('eth0'),
      ...(state !== undefined && { 'sys/class/net/eth0/operstate': `${state}\n` }),
      ...(carrier !== undefined && { 'sys/class/net/eth0/carrier': `${carrier}\n` }),
    })
    assert.equal(metrics.network?.['eth0']?.up, up)
    assert.equal('up' in (metrics.network?.['eth0'] ?? {}), up !== undefined)
  })
}

const signals: readonly (readonly [rule: string, quality: string, dbm: number | undefined])[] = [
  ['a level in dBm, just measured', ' 53.  -57.  -256 ', -57],
  ['a level in dBm of before', ' 53   -57   -256 ', -57],
  ['no level', '  0  -256  -256 ', undefined],
  ['a level on a scale of the driver', ' 70.   44.    0. ', undefined],
  ['a driver without statistics', '  0     0     0 ', undefined],
]

for (const [rule, quality, dbm] of signals) {
  test(`wireless: ${rule}`, () => {
    const found = parseSignals(` wlan0: 0000  ${quality}       0      0      0      2      0        0\n`)
    assert.equal(found.get('wlan0'), dbm)
  })
}

test('a connection through the network of another name has no signal', async () => {
  const wireless = ' wlan0: 0000   53.  -57.  -256        0      0      0      2      0        0\n'
  const { network } = await measureFiles({
    'proc/net/dev': line('eth0') + line('wlan0'),
    'proc/net/wireless': wireless,
  })
  assert.equal(network?.['wlan0']?.signalDbm, -57)
  assert.equal('signalDbm' in (network?.['eth0'] ?? {}), false)
})
