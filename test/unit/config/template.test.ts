import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { runConfigList, runConfigShowOrigin } from '../../../agent/commands/config.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { parseTemplate } from '../../../agent/config/template.ts'
import type { MachineRoot } from '../../../agent/system/machine-files.ts'
import { cheapPc, container, makeMachine, raspberryPi, virtualMachine } from '../../kit/machines.ts'
import { configOf, makeConfigFolder, onlyProblem } from './folder.ts'

const scope = '[dps]\nidScope = "0ne00ABCDEF"\n'

/** The configuration with this ID in config.toml, or in the environment, on a machine. */
async function loadOn(machine: MachineRoot, id: string, { rule = 'portable', variable = false } = {}) {
  const line = variable ? '' : `registrationId = ${JSON.stringify(id)}\n`
  await using folder = await makeConfigFolder({ 'config.toml': `${scope}[device]\nidRule = "${rule}"\n${line}` })
  const environment = variable ? { DEVICE_ID: id } : {}
  const vendorFolder = `${folder.path}/vendor`
  return loadConfig({ environment, folder: folder.path, vendorFolder, machine })
}

/** What happens without the rights of root, which may read everything. */
function asNobody<T>(act: () => T): T {
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    return act()
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
}

test('each source gives its part, in small letters, beside text that stands as it is', async () => {
  await using pi = await makeMachine({ ...raspberryPi, 'etc/name': 'Cell-7\nmore\n' }, 'Press-Line-3')
  const expected = [
    ['{hostname}', 'press-line-3'],
    ['press-{serial}', 'press-10000000abcdef01'],
    ['{mac:eth0}', 'dca632010203'],
    ['{file:/etc/name}-a', 'cell-7-a'],
    ['{hostname}-{serial}', 'press-line-3-10000000abcdef01'],
  ] as const
  for (const [template, id] of expected)
    assert.equal(configOf(await loadOn(pi, template)).device.registrationId, id, template)
})

test('on a PC the serial number and the other names come from its firmware', async () => {
  await using pc = await makeMachine({
    ...virtualMachine,
    'sys/class/dmi/id/product_serial': 'VMware-56 4d\n',
    'sys/class/dmi/id/board_serial': 'BRD-0815\n',
  })
  assert.equal(configOf(await loadOn(pc, '{dmi:board_serial}')).device.registrationId, 'brd-0815')
  assert.equal(
    configOf(await loadOn(pc, '{dmi:product_uuid}')).device.registrationId,
    '7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a10',
  )
  const problem = onlyProblem(await loadOn(pc, '{serial}'))
  assert.equal(problem.value, '"vmware-56 4d"', 'no character is exchanged behind the back of its owner')
  assert.match(problem.origin ?? '', /config\.toml, from "\{serial\}"$/)
})

test('the rule "azure" leaves capitals as they are; capitals that somebody wrote are never changed', async () => {
  await using pi = await makeMachine(raspberryPi)
  const id = configOf(await loadOn(pi, 'Press-{serial}', { rule: 'azure' })).device.registrationId
  assert.equal(id, 'Press-10000000ABCDEF01')
  const problem = onlyProblem(await loadOn(pi, 'Press-{serial}'))
  assert.equal(problem.value, '"Press-10000000abcdef01"')
  assert.match(problem.problem, /capital letters/)
})

test('DEVICE_ID may be a template too; what it becomes is shown with the template and its place', async () => {
  await using pi = await makeMachine(raspberryPi)
  const loaded = await loadOn(pi, 'press-{serial}', { variable: true })
  assert.equal(configOf(loaded).device.registrationId, 'press-10000000abcdef01')
  const origin = loaded.ok && loaded.origins['device.registrationId']
  assert.equal(origin, 'environment DEVICE_ID, from "press-{serial}"')
})

test('config list and config show-origin show the value and the template', async () => {
  await using pi = await makeMachine(raspberryPi)
  await using folder = await makeConfigFolder({
    'config.toml': `${scope}[device]\nregistrationId = "press-{serial}"\n`,
  })
  const options = { environment: {}, folder: folder.path, machine: pi }
  const printed: string[] = []
  const io = { stdout: (text: string) => void printed.push(text), stderr: (text: string) => void printed.push(text) }
  runConfigList(io, options)
  runConfigShowOrigin(io, options)
  assert.match(
    printed[0] ?? '',
    /registrationId = "press-10000000abcdef01" +\/.*config\.toml, from "press-\{serial\}"\n/,
  )
  assert.match(printed[1] ?? '', /registrationId +\/.*config\.toml, from "press-\{serial\}"\n/)
})

/** Template, what is said of it, and the remedy. */
const silent: readonly (readonly [string, RegExp, RegExp])[] = [
  ['{hostname}', /the host name is "localhost"/, /hostnamectl/],
  [
    '{serial}',
    /devicetree\/base\/serial-number is not there; .*proc\/device-tree\/serial-number is not there; .*product_serial says "To be filled by O\.E\.M\."/,
    /\{mac:eth0\}/,
  ],
  ['{dmi:board_serial}', /board_serial says "Default string"/, /has none/],
  ['{dmi:chassis_asset_tag}', /chassis_asset_tag says "0000000000000000"/, /has none/],
  ['{dmi:chassis_serial}', /chassis_serial is not there/, /has none/],
  ['{mac:eth0}', /net\/eth0\/address is not there/, /ip -details link/],
  ['{file:/etc/device-id}', /\/etc\/device-id is not there/, /first line of \/etc\/device-id/],
  ['{file:/empty}', /\/empty is empty/, /first line/],
]

for (const [id, fact, remedy] of silent) {
  test(`a machine that does not tell ${id} is one problem without a value, so that the agent may wait`, async () => {
    await using pc = await makeMachine({ ...cheapPc, empty: '\n' })
    const problem = onlyProblem(await loadOn(pc, `press-${id}`))
    assert.equal(problem.key, 'device.registrationId')
    assert.equal(problem.value, undefined)
    assert.match(problem.problem, fact)
    assert.ok(problem.problem.includes(`"press-${id}"`), problem.problem)
    assert.match(problem.remedy, remedy)
    assert.match(problem.origin ?? '', /config\.toml$/)
  })
}

test('where the system keeps a name from the agent, the remedy is the right to read it', async () => {
  await using pc = await makeMachine({ ...virtualMachine, 'etc/secret': 'press-07\n' })
  for (const path of ['sys/class/dmi/id/product_uuid', 'etc/secret']) await chmod(join(pc.root, path), 0o000)
  await chmod(pc.root, 0o711)
  const machine = { ...pc, hostname: () => 'press-07' }
  const load = (id: string) =>
    asNobody(() =>
      loadConfig({
        environment: { DEVICE_ID: id, DPS_ID_SCOPE: '0ne1' },
        folder: pc.root,
        vendorFolder: '/none',
        machine,
      }),
    )
  const problem = onlyProblem(load('{dmi:product_uuid}'))
  assert.match(problem.problem, /product_uuid may not be read by this user/)
  assert.match(problem.remedy, /systemd-tmpfiles/)
  assert.match(onlyProblem(load('{file:/etc/secret}')).remedy, /Let the user of the agent read \/etc\/secret/)
})

for (const hostname of ['', 'localhost', 'LOCALHOST', 'localhost.localdomain', '(none)']) {
  test(`the host name "${hostname}" names nobody`, async () => {
    await using machine = await makeMachine(container, hostname)
    assert.equal(onlyProblem(await loadOn(machine, '{hostname}')).value, undefined)
  })
}

test('several sources that are silent are one problem, which names each', async () => {
  await using machine = await makeMachine(container)
  const problem = onlyProblem(await loadOn(machine, '{hostname}-{file:/etc/cell}'))
  assert.match(problem.problem, /host name.*; \/etc\/cell/)
  assert.match(problem.remedy, /hostnamectl.*\/etc\/cell/)
})

const wrong = [
  '{',
  '}',
  'press-{serial',
  'press}',
  '{}',
  '{host}',
  '{hostname:x}',
  '{dmi:bios_vendor}',
  '{dmi}',
].concat(
  ['{mac:../../etc}', '{mac:..}', '{mac:}', '{mac:0123456789abcdef}', '{file:relative}', '{file:}', '{{serial}}'],
  ['{Serial}', '{serial }'],
)

for (const template of wrong) {
  test(`the template ${template} is wrong in itself: its problem has a value, and the sources as remedy`, async () => {
    assert.equal(parseTemplate(template).ok, false)
    await using pi = await makeMachine(raspberryPi, 'press-07')
    const problem = onlyProblem(await loadOn(pi, template))
    assert.equal(problem.value, JSON.stringify(template))
    assert.match(problem.remedy, /\{hostname\}, \{serial\}/)
  })
}

test('a text that is too long for a template is no registration ID, and is quoted in part', async () => {
  await using pi = await makeMachine(raspberryPi)
  const problem = onlyProblem(await loadOn(pi, '{hostname}'.repeat(100)))
  assert.match(problem.problem, /not a registration ID/)
  assert.ok((problem.value ?? '').length < 200)
})
