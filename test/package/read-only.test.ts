/** An image whose root cannot be written to, with the state on a partition of its own; and that partition in another machine. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { CONFIG_FILE, startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { nativeArch } from './kit/roots.ts'
import { identity, property, tellOnFailure, UNIT } from './kit/unit.ts'

const call = promisify(execFile)
const script = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const STATE = `/var/lib/${UNIT}`

/** What a device keeps when its image is replaced, and what its board says of itself. */
interface Device extends AsyncDisposable {
  readonly image: string
  /** Flags for a board with this serial number, with the partition mounted. */
  board(serial: string): Promise<readonly string[]>
}

/** An image with the configuration of a device in it, and an empty partition for the state. */
async function makeDevice(files: Readonly<Record<string, string>>): Promise<Device> {
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await makeTemporaryFolder()).path
  const [image, partition, tar] = [join(folder, 'image'), join(folder, 'partition'), join(folder, 'image.tar')]
  const base = (await call(script('scripts/root'), ['trixie', nativeArch])).stdout.trim()
  await call(script('packaging/images/mmdebstrap/build-image'), ['--base', base, tar, await presentPackage()])
  await Promise.all([mkdir(image), mkdir(partition)])
  await call('tar', ['--numeric-owner', '-C', image, '-xpf', tar])
  await mkdir(join(image, STATE))
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(image, path, '..'), { recursive: true })
    await writeFile(join(image, path), content, { mode: 0o644 })
  }
  await call('sh', [
    '-euc',
    'truncate -s 64M "$1.ext4"; mkfs.ext4 -q "$1.ext4"; mount -o loop "$1.ext4" "$1"',
    'sh',
    partition,
  ])
  parts.defer(() => call('umount', [partition]).then(() => undefined))
  const all = parts.move()
  return {
    image,
    async board(serial) {
      const firmware = join(folder, serial)
      await mkdir(join(firmware, 'devicetree/base'), { recursive: true })
      await writeFile(join(firmware, 'devicetree/base/serial-number'), `${serial}\0`)
      return ['--read-only', `--bind=${partition}:${STATE}`, `--bind-ro=${firmware}:/sys/firmware`]
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

test(
  'an image with a read-only root lives on its partition, and a copied one stays off the hub',
  { timeout: 240_000 },
  async (t) => {
    await using beside = await startCloudBeside('press-09')
    await using device = await makeDevice({
      [CONFIG_FILE]: beside.toml(),
      '/etc/iot-device-agent/ca.pem': await readFile(beside.cloud.caFile, 'utf8'),
    })
    const [mine, other] = [await device.board('100000001'), await device.board('100000002')]
    const suite = { root: device.image }
    let made = ''

    await t.test('at its first start it makes its key on the partition, and sends telemetry', async (part) => {
      await using machine = await bootMachine({ suite, layers: mine })
      tellOnFailure(part, machine)
      assert.notEqual((await machine.run(['touch', '/etc/x'])).status, 0, 'nothing can be written to the root')
      await beside.enrol(machine)
      made = await identity(machine)
      assert.match(await machine.read(`${STATE}/machine.json`), /100000001/)
      assert.equal(await machine.shell(`findmnt -n -o FSTYPE ${STATE}`), 'ext4')
    })

    await t.test('at its next start it is the same device', async (part) => {
      const since = beside.seq()
      await using machine = await bootMachine({ suite, layers: mine })
      tellOnFailure(part, machine)
      await beside.nextTelemetry(since)
      assert.equal(await identity(machine), made)
    })

    await t.test('on another board it says so, and does not show itself to DPS or the hub', async (part) => {
      const since = beside.seq()
      await using machine = await bootMachine({ suite, layers: other })
      tellOnFailure(part, machine)
      await machine.until(`systemctl show --value --property=StatusText ${UNIT} | grep 100000002`)
      const { status, stdout, stderr } = await machine.run([UNIT, 'status'])
      assert.notEqual(status, 0)
      assert.match(stdout + stderr, /MACHINE_CHANGED/)
      assert.match(stdout + stderr, /100000001.*100000002/s)
      assert.match(await machine.shell(`journalctl -u ${UNIT} -o cat`), /MACHINE_CHANGED/)
      assert.equal(await property(machine, 'ActiveState'), 'active', 'it waits for somebody to decide')
      assert.deepEqual(beside.cloud.record.events(since), [])
      assert.equal(await identity(machine), made, 'nothing is lost by it')

      await part.test('until somebody accepts the board: then it goes on as the same device', async () => {
        await machine.shell(`${UNIT} accept-machine`)
        await beside.nextTelemetry(since)
        assert.equal(await identity(machine), made)
      })
    })
  },
)
