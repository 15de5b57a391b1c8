import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { judgeMachine } from '../../agent/machine.ts'
import { createLog } from '../../agent/system/log.ts'
import { createFakeClock } from '../kit/clock.ts'
import { plant } from '../kit/kernel-files.ts'
import { container, makeMachine, raspberryPi, virtualMachine } from '../kit/machines.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

/** A state folder, and what is logged about it. */
async function makeState() {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock()
  const lines: string[] = []
  const log = createLog({ level: 'info', clock, write: (line) => lines.push(line) })
  return {
    stateDir: folder.path,
    file: join(folder.path, 'machine.json'),
    lines,
    judge: (root: string) => judgeMachine({ stateDir: folder.path }, { clock, log, root }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('the first start records the machine for the agent alone, and later starts find it again', async () => {
  await using state = await makeState()
  await using machine = await makeMachine(raspberryPi)
  assert.equal(await state.judge(machine.root), undefined)
  const first = await readFile(state.file, 'utf8')
  assert.deepEqual(JSON.parse(first), {
    version: 1,
    at: '2026-01-01T00:00:00.000Z',
    machine: { deviceTreeSerial: ['10000000ABCDEF01'], macs: ['dc:a6:32:01:02:03', 'dc:a6:32:01:02:04'] },
  })
  const { ino, mode } = await stat(state.file)
  assert.equal(mode & 0o777, 0o600)
  assert.equal(await state.judge(machine.root), undefined)
  assert.equal((await stat(state.file)).ino, ino)
  assert.equal(state.lines.length, 1, 'nothing is written or said twice')
})

test('the state of one board on another board is refused each time, and the record stays', async () => {
  await using state = await makeState()
  await using machine = await makeMachine(raspberryPi)
  await using twin = await makeMachine({
    ...raspberryPi,
    'sys/firmware/devicetree/base/serial-number': '10000000ABCDEF02\0',
  })
  await state.judge(machine.root)
  for (const _ of [1, 2]) {
    const failure = await state.judge(twin.root)
    assert.equal(failure?.code, 'MACHINE_CHANGED')
    assert.match(failure.message, /10000000ABCDEF01.*10000000ABCDEF02/)
  }
  assert.equal(await state.judge(machine.root), undefined, 'back in its own board it goes on')
})

test('a kind that can be read since an update completes the record; one that cannot be read any more decides nothing', async () => {
  await using state = await makeState()
  await using machine = await makeMachine(virtualMachine)
  await rm(join(machine.root, 'sys/class/dmi/id/product_uuid'))
  assert.equal(await state.judge(machine.root), undefined)
  assert.deepEqual(await readdir(state.stateDir), [], 'there is nothing to record')
  await plant(machine.root, virtualMachine)
  assert.equal(await state.judge(machine.root), undefined)
  await using blind = await makeMachine(container)
  assert.equal(await state.judge(blind.root), undefined)
  assert.match(state.lines.at(-1) ?? '', /cannot be compared/)
  await using other = await makeMachine({ 'sys/class/dmi/id/product_uuid': '7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a11\n' })
  assert.equal((await state.judge(other.root))?.code, 'MACHINE_CHANGED')
})

test('a torn record is set aside and made anew', async () => {
  await using state = await makeState()
  await using machine = await makeMachine(raspberryPi)
  await writeFile(state.file, '{"version":1,"mach')
  assert.equal(await state.judge(machine.root), undefined)
  const names = await readdir(state.stateDir)
  assert.deepEqual(names.toSorted(), ['machine.json', 'machine.json.unreadable-2026-01-01T000000.000Z'])
  assert.match(state.lines[0] ?? '', /STATE_TORN/)
  assert.equal(JSON.parse(await readFile(state.file, 'utf8')).machine.deviceTreeSerial[0], '10000000ABCDEF01')
})

test('what cannot be read or written is told, and keeps no device from its work', async () => {
  await using state = await makeState()
  await using machine = await makeMachine(raspberryPi)
  await mkdir(state.file)
  assert.equal(await state.judge(machine.root), undefined)
  assert.match(state.lines.at(-1) ?? '', /EISDIR/)
  await rm(state.file, { recursive: true })
  await rm(state.stateDir, { recursive: true })
  assert.equal(await state.judge(machine.root), undefined)
  assert.match(state.lines.at(-1) ?? '', /STATE_UNWRITABLE/)
})
