import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { lookAtMac, readMachineIdentity } from '../../../agent/system/machine-identity.ts'
import { lookAtLine, lookAtName, lookAtSerial } from '../../../agent/system/machine-files.ts'
import type { KernelFiles } from '../../kit/kernel-files.ts'
import { cheapPc, container, makeMachine, networkInterface, raspberryPi, virtualMachine } from '../../kit/machines.ts'

const boards: readonly (readonly [string, KernelFiles, object])[] = [
  [
    'a Raspberry Pi is known by the serial number of its device tree and by its two own addresses',
    raspberryPi,
    { deviceTreeSerial: ['10000000ABCDEF01'], macs: ['dc:a6:32:01:02:03', 'dc:a6:32:01:02:04'] },
  ],
  [
    'a PC whose fields nobody has filled in is known by its network card alone',
    cheapPc,
    { macs: ['00:e0:4c:68:01:9a'] },
  ],
  [
    'a virtual machine is known by its UUID; an address that is administered locally counts for nothing',
    virtualMachine,
    { productUuid: ['7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a10'] },
  ],
  ['a container that sees no hardware is known by nothing', container, {}],
  ['a machine without /sys is known by nothing', {}, {}],
  [
    'an i.MX8 whose boot loader fills in no serial number is known by that of its processor',
    { 'sys/devices/soc0/serial_number': '1A2B3C4D5E6F7081\n' },
    { socSerial: ['1A2B3C4D5E6F7081'] },
  ],
  [
    'an older kernel has the device tree below /proc only',
    { 'proc/device-tree/serial-number': '00000000deadbeef\0' },
    { deviceTreeSerial: ['00000000deadbeef'] },
  ],
]

for (const [name, files, identity] of boards) {
  test(name, async () => {
    await using machine = await makeMachine(files)
    assert.deepEqual(readMachineIdentity(machine), identity)
  })
}

test('the address of an interface counts only as its maker gave it, for hardware, and for one interface', async () => {
  await using machine = await makeMachine({
    ...networkInterface('random', '00:11:22:33:44:01', 1),
    ...networkInterface('stolen', '00:11:22:33:44:02', 2),
    ...networkInterface('set', '00:11:22:33:44:03', 3),
    ...networkInterface('bridge', '00:11:22:33:44:04', 0, false),
    ...networkInterface('group', '01:11:22:33:44:05'),
    ...networkInterface('zero', '00:00:00:00:00:00'),
    ...networkInterface('infiniband', '80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:21:6e:a1'),
    ...networkInterface('local', '02:11:22:33:44:06'),
    ...networkInterface('good', '00:11:22:33:44:07'),
  })
  assert.deepEqual(readMachineIdentity(machine), { macs: ['00:11:22:33:44:07'] })
  assert.equal(lookAtMac(machine, 'local').value, '02:11:22:33:44:06', 'who names an interface has chosen it')
  assert.equal(lookAtMac(machine, 'random').value, undefined)
})

const fillers = [
  'To Be Filled By O.E.M.',
  'Default string',
  'System Serial Number',
  'Not Specified',
  'None',
  '0123456789',
  '0000000000000000',
  'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
  '00000000-0000-0000-0000-000000000000',
  'xxxxxxxxxx',
]

test('what makers leave in the place of a serial number is none, whatever its case', async () => {
  for (const filler of fillers) {
    await using machine = await makeMachine({ 'sys/class/dmi/id/product_serial': `${filler}\n` })
    assert.deepEqual(readMachineIdentity(machine), {}, filler)
  }
})

test('a few characters are no serial number, but may be what somebody wrote into a file', async () => {
  await using machine = await makeMachine({ short: '7\n', zero: '0\n' })
  assert.equal(lookAtSerial(machine, '/zero').value, undefined)
  assert.equal(lookAtName(machine, '/short').value, '7')
})

test('a file gives its first line up to a NUL; nothing that is long, unprintable, or no file makes the agent wait', async () => {
  await using machine = await makeMachine({
    lines: '  press-07 \r\nsecond\n',
    nul: 'one\0two\0',
    blank: ' \n',
    longest: 'x'.repeat(256),
    long: 'x'.repeat(257),
    binary: new Uint8Array([0xff, 0xfe, 0x41]),
    escape: 'a\u001b[2Jb\n',
  })
  await mkdir(join(machine.root, 'folder'))
  execFileSync('mkfifo', [join(machine.root, 'pipe')])
  const said = (place: string) => lookAtLine(machine, place).value
  assert.equal(said('/lines'), 'press-07')
  assert.equal(said('/nul'), 'one')
  assert.equal(said('/longest'), 'x'.repeat(256))
  for (const place of ['/blank', '/long', '/binary', '/escape', '/folder', '/pipe', '/missing', '/lines/below']) {
    const look = lookAtLine(machine, place)
    assert.ok(look.value === undefined && look.why !== '' && !look.denied, place)
  }
})
