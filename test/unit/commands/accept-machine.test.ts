import assert from 'node:assert/strict'
import { chmod, chown, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { runAcceptMachine } from '../../../agent/commands/accept-machine.ts'
import { judgeMachine } from '../../../agent/machine.ts'
import { createLog } from '../../../agent/system/log.ts'
import { plant } from '../../kit/kernel-files.ts'
import { container, makeMachine, raspberryPi, virtualMachine } from '../../kit/machines.ts'
import { runProgram, sourceProgram } from '../../kit/program.ts'
import { makeCommandBench } from './credential-bench.ts'
import type { CommandBench } from './credential-bench.ts'

/** A command with a state folder that was made on a Raspberry Pi. */
async function makeBench(): Promise<CommandBench> {
  const bench = await makeCommandBench()
  await mkdir(bench.settings.stateDir)
  await using machine = await makeMachine(raspberryPi)
  await judge(bench, machine.root)
  return bench
}

function judge({ settings, clock }: CommandBench, root: string) {
  return judgeMachine(settings, { clock, log: createLog({ level: 'error', clock, write: () => undefined }), root })
}

function accept({ settings, clock, environment }: CommandBench, root: string): Promise<number> {
  return runAcceptMachine(environment, { stateDir: settings.stateDir, clock, root })
}

const otherBoard = { ...raspberryPi, 'sys/firmware/devicetree/base/serial-number': '10000000ABCDEF99\0' }

test('both machines are shown, and afterwards this one is the recorded one', async () => {
  await using bench = await makeBench()
  await using board = await makeMachine(otherBoard)
  assert.equal((await judge(bench, board.root))?.code, 'MACHINE_CHANGED')
  assert.equal(await accept(bench, board.root), 0)
  const { stdout, stderr } = bench.printed()
  assert.match(stdout, /recorded: 10000000ABCDEF01\n +here: +10000000ABCDEF99\n/)
  assert.match(stdout, /^Accepted/m)
  assert.equal(stderr, '')
  assert.deepEqual(bench.became, [bench.settings.stateDir])
  assert.equal(await judge(bench, board.root), undefined)
  await using first = await makeMachine(raspberryPi)
  assert.equal((await judge(bench, first.root))?.code, 'MACHINE_CHANGED', 'the first board is the stranger now')
})

test('nothing of the first board is left in the record: its parts may serve another device', async () => {
  await using bench = await makeBench()
  await using board = await makeMachine(virtualMachine)
  await plant(board.root, { 'sys/firmware/devicetree/base/serial-number': 'BOARD-0002\0' })
  assert.equal(await accept(bench, board.root), 0)
  const text = await readFile(join(bench.settings.stateDir, 'machine.json'), 'utf8')
  assert.deepEqual(JSON.parse(text).machine, {
    deviceTreeSerial: ['BOARD-0002'],
    productUuid: ['7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a10'],
  })
})

test('where there is nothing to accept the command says so, changes nothing, and is content', async () => {
  await using bench = await makeBench()
  const file = join(bench.settings.stateDir, 'machine.json')
  const before = await readFile(file, 'utf8')
  await using own = await makeMachine(raspberryPi)
  assert.equal(await accept(bench, own.root), 0)
  assert.match(bench.printed().stdout, /^Nothing to accept: .* on this machine\.\n$/)
  await using blind = await makeMachine(container)
  assert.equal(await accept(bench, blind.root), 0)
  assert.match(bench.printed().stdout, /^Nothing to accept: .* compared with\.\n$/)
  assert.equal(await readFile(file, 'utf8'), before)
})

test('a record that cannot be written is a failure with its code', async () => {
  await using bench = await makeBench()
  const stateDir = join(bench.settings.stateDir, 'machine.json')
  await using board = await makeMachine(otherBoard)
  assert.equal(await runAcceptMachine(bench.environment, { stateDir, clock: bench.clock, root: board.root }), 1)
  assert.match(bench.printed().stderr, /ENOTDIR/)
})

const environmentOf = (bench: CommandBench) => ({
  PATH: process.env['PATH'] ?? '',
  DEVICE_ID: 'press-07',
  DPS_ID_SCOPE: '0ne00ABCDEF',
  IOT_AGENT_STATE_DIR: bench.settings.stateDir,
  IOT_AGENT_CONFIG_DIR: bench.path,
})

test('as a program, on a device that never ran: nothing to accept, exit code 0', async () => {
  await using bench = await makeCommandBench()
  const ran = await runProgram(sourceProgram, ['accept-machine'], environmentOf(bench))
  assert.deepEqual(ran, {
    status: 0,
    stdout: 'Nothing to accept: no machine is recorded; the agent records this one when it starts.\n',
    stderr: '',
  })
})

const source = (path: string) => JSON.stringify(new URL(`../../../agent/${path}`, import.meta.url).href)

/** The command as root runs it on a device, over a machine made of files. */
const AS_ROOT = `
import { runAcceptMachine } from ${source('commands/accept-machine.ts')}
import { actAsOwner } from ${source('system/act-as-owner.ts')}
import { systemClock } from ${source('system/clock.ts')}
const [stateDir, root] = process.argv.slice(1)
const say = (text) => process.stdout.write(text)
const io = { stdout: say, stderr: say, stdin: process.stdin, clock: systemClock, actAsOwner }
process.exitCode = await runAcceptMachine(io, { stateDir, clock: systemClock, root })
`

const NOBODY = 65_534
const isRoot = process.geteuid?.() === 0

test(
  'root reads what only root can see, and leaves a record that is the agent’s own',
  { skip: !isRoot && 'needs root' },
  async () => {
    await using bench = await makeCommandBench()
    const { stateDir } = bench.settings
    await mkdir(stateDir)
    const uuids = ['7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a10', '7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a11'] as const
    await writeFile(
      join(stateDir, 'machine.json'),
      JSON.stringify({ version: 1, machine: { productUuid: [uuids[1]] } }),
    )
    await using machine = await makeMachine(virtualMachine)
    await chmod(join(machine.root, 'sys/class/dmi/id/product_uuid'), 0o400)
    await chmod(bench.path, 0o711)
    for (const path of [stateDir, join(stateDir, 'machine.json')]) await chown(path, NOBODY, NOBODY)
    const program = [process.execPath, '--input-type=module', '-e', AS_ROOT] as const
    const ran = await runProgram(program, [stateDir, machine.root], { PATH: process.env['PATH'] ?? '' })
    assert.equal(ran.status, 0, ran.stdout + ran.stderr)
    const file = join(stateDir, 'machine.json')
    const { uid, gid, mode } = await stat(file)
    assert.deepEqual({ uid, gid, mode: mode & 0o777 }, { uid: NOBODY, gid: NOBODY, mode: 0o600 })
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')).machine, { productUuid: [uuids[0]] })
  },
)
