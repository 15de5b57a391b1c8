import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { readDisk } from '../../../agent/telemetry/metrics/disk.ts'
import { measure, measureFiles } from '../../kit/kernel-files.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

/** One number of df about the file system of a folder. */
async function df(folder: string, column: string): Promise<number> {
  const { stdout } = await run('df', ['--block-size=1', `--output=${column}`, folder])
  return Number(stdout.split('\n')[1])
}

test('the disk is that of the state folder, as df sees it', async () => {
  await using root = await makeTemporaryFolder()
  const { diskTotalBytes, diskFreeInodes, diskReadOnly } = await measure(root.path, root.path)
  assert.equal(diskTotalBytes, await df(root.path, 'size'))
  assert.equal(diskReadOnly, false)
  assert.equal(diskFreeInodes !== undefined, (await df(root.path, 'itotal')) > 0)
})

test('a folder that is not there has no disk', async () => {
  await using root = await makeTemporaryFolder()
  assert.deepEqual(await readDisk(`${root.path}/none`), {})
})

/** Runs a command where mounts are its own. */
function apart(shell: string, ...values: readonly string[]): Promise<{ readonly stdout: string }> {
  return run('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-ec', shell, 'sh', ...values])
}

const mayMount = await apart('mount -t tmpfs tmpfs /tmp').then(
  () => true,
  () => false,
)
const skip = mayMount ? false : 'nobody may mount here'

/** Measures a small file system of its own. */
async function measureMounted(options: string): Promise<unknown> {
  await using folder = await makeTemporaryFolder()
  const module = new URL('../../../agent/telemetry/metrics/disk.ts', import.meta.url).href
  const script = `import { readDisk } from '${module}'; console.log(JSON.stringify(await readDisk('${folder.path}')))`
  const shell = 'mount -t tmpfs -o "$1" tmpfs "$2"; exec "$3" --input-type=module -e "$4"'
  const { stdout } = await apart(shell, options, folder.path, process.execPath, script)
  return JSON.parse(stdout) as unknown
}

test('a file system that cannot be written is said to be so, root or not, and its free files', { skip }, async () => {
  // The root folder takes one of the 100 files.
  const expected = { diskTotalBytes: 1024 * 1024, diskFreeBytes: 1024 * 1024, diskFreeInodes: 99 }
  assert.deepEqual(await measureMounted('size=1m,nr_inodes=100'), { ...expected, diskReadOnly: false })
  assert.deepEqual(await measureMounted('size=1m,nr_inodes=100,ro'), { ...expected, diskReadOnly: true })
})

test('a file system that makes inodes as it needs them does not say how many are free', { skip }, async () => {
  const expected = { diskTotalBytes: 1024 * 1024, diskFreeBytes: 1024 * 1024, diskReadOnly: false }
  assert.deepEqual(await measureMounted('size=1m,nr_inodes=0'), expected)
})

const lives: readonly (readonly [life: string, percent: number | undefined])[] = [
  ['0x01 0x00', 10],
  ['0x01 0x02', 20],
  ['0x0a 0x03', 100],
  ['0x0A 0x01', 100],
  // Exceeded.
  ['0x0b 0x01', 110],
  // Not defined, and reserved.
  ['0x00 0x00', undefined],
  ['0x0c 0xff', undefined],
  ['', undefined],
  ['1 1', undefined],
]

for (const [life, percent] of lives) {
  test(`an eMMC whose life_time is ${JSON.stringify(life)}: worn ${percent ?? 'is absent'}`, async () => {
    const metrics = await measureFiles({ 'sys/block/mmcblk1/device/life_time': `${life}\n` })
    assert.deepEqual(metrics, percent === undefined ? {} : { storageWearPercent: { mmcblk1: percent } })
  })
}

for (const [state, said] of [
  ['0x00', undefined],
  ['0x01', 1],
  ['0x02', 2],
  ['0x03', 3],
  ['0x04', undefined],
] as const) {
  test(`an eMMC whose pre_eol_info is ${state}: its reserve is ${said ?? 'absent'}`, async () => {
    const metrics = await measureFiles({ 'sys/block/mmcblk0/device/pre_eol_info': `${state}\n` })
    assert.deepEqual(metrics, said === undefined ? {} : { storagePreEndOfLife: { mmcblk0: said } })
  })
}

test('a UFS memory is by the name of its controller', async () => {
  const folder = 'sys/bus/platform/devices/1d84000.ufs/health_descriptor'
  const metrics = await measureFiles({
    [`${folder}/life_time_estimation_a`]: '0x02\n',
    [`${folder}/life_time_estimation_b`]: '0x04\n',
    [`${folder}/eol_info`]: '0x02\n',
  })
  assert.deepEqual(metrics, { storageWearPercent: { '1d84000.ufs': 40 }, storagePreEndOfLife: { '1d84000.ufs': 2 } })
})

test('the boot partitions of a memory are no memories', async () => {
  const metrics = await measureFiles({
    'sys/block/mmcblk0boot0/device/life_time': '0x01 0x01\n',
    'sys/block/mmcblk0p1/device/life_time': '0x01 0x01\n',
  })
  assert.deepEqual(metrics, {})
})
