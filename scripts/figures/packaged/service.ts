/** The installed package as a service of a booted machine. Program and state lie on the disk of the host. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCloudBeside } from '../../../test/package/kit/cloud.ts'
import type { Beside } from '../../../test/package/kit/cloud.ts'
import { bootMachine } from '../../../test/package/kit/machine.ts'
import type { Machine } from '../../../test/package/kit/machine.ts'
import type { Suite } from '../../../test/package/kit/roots.ts'
import { install, property, UNIT } from '../../../test/package/kit/unit.ts'
import { cpuMs, memoryOf, threadCpuMs, writtenBytes } from '../process.ts'
import { serviceFigures } from './figures.ts'
import type { ServiceFigure, ServiceSeries } from './figures.ts'

/** What the agent does once, after its first message, is not counted as rest. */
const SETTLING_MS = 5_000
const REGISTRATION_ID = 'press-01'

export interface ServiceMethod {
  readonly suite: Suite
  readonly deb: string
  /** Empty, on a disk. */
  readonly folder: string
  readonly startRounds: number
  readonly restRounds: number
  readonly quietSeconds: number
}

type Values = Partial<Record<ServiceFigure, number>>

export async function measureService(method: ServiceMethod): Promise<ServiceSeries> {
  const disk = join(method.folder, 'disk')
  await mkdir(disk)
  await using beside = await startCloudBeside(REGISTRATION_ID)
  await using machine = await bootMachine({ suite: method.suite, files: [method.deb, disk] })
  await machine.shell(ON_DISK)
  await install(machine, method.deb)
  await beside.configure(machine)
  await beside.enrol(machine)
  await configureForRest(machine, beside)
  const taken: Values[] = []
  for (let round = 0; round < method.startRounds; round++) taken.push(await measureStart(machine, beside))
  for (let round = 0; round < method.restRounds; round++) taken.push(await measureRest(machine, method.quietSeconds))
  const values = mapValues(serviceFigures, (name) => taken.flatMap((each) => each[name] ?? []))
  const systemd = await machine.shell('systemctl --version | sed -n "1s/^systemd \\([0-9]*\\).*/\\1/p"')
  return { suite: method.suite, systemd, values }
}

/** The machine writes to memory; these two folders are on the disk of the host instead. */
const ON_DISK = `mount -o remount,rw,bind /root/disk
for folder in /usr/lib/${UNIT} /var/lib/${UNIT}; do
  mkdir -p "/root/disk$folder" "$folder"
  mount --bind "/root/disk$folder" "$folder"
done`

/** One measurement a minute, as in the other figures. */
async function configureForRest(machine: Machine, beside: Beside): Promise<void> {
  const toml = beside.toml().replace('intervalSeconds = 1\n', 'intervalSeconds = 60\n')
  await machine.write('/etc/iot-device-agent/config.toml', toml)
}

/** Stops, forgets the program as after a boot, and starts. */
async function measureStart(machine: Machine, beside: Beside): Promise<Values> {
  await machine.shell(`systemctl stop ${UNIT}
sync
dd if=/usr/lib/${UNIT}/lib/node iflag=nocache count=0 status=none
dd if=/usr/lib/${UNIT}/lib/iot-device-agent.cjs iflag=nocache count=0 status=none`)
  const acknowledged = nextAcknowledgedMs(beside)
  await machine.shell(`systemctl start ${UNIT}`)
  const atMs = await acknowledged
  const stamp = async (name: string) => Number(await property(machine, `${name}TimestampMonotonic`)) / 1000
  return {
    readyMs: (await stamp('ActiveEnter')) - (await stamp('ExecMainStart')),
    firstMessageMs: atMs - (await stamp('InactiveExit')),
    startCpuMs: cpuMs(await mainPid(machine)),
  }
}

async function measureRest(machine: Machine, quietSeconds: number): Promise<Values> {
  const pid = await mainPid(machine)
  await sleep(SETTLING_MS)
  const [cpuBefore, bytesBefore] = [threadCpuMs(pid), writtenBytes(pid)]
  await sleep(quietSeconds * 1000)
  const { rssMb, pssMb, anonymousMb } = memoryOf(pid)
  const restWrittenKb = (writtenBytes(pid) - bytesBefore) / 1024
  return { rssMb, pssMb, anonymousMb, restCpuMs: threadCpuMs(pid) - cpuBefore, restWrittenKb }
}

/** CLOCK_MONOTONIC, which this machine shares with its host: what systemd's stamps are of. */
function nextAcknowledgedMs(beside: Beside): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const stopListening = beside.cloud.record.listen((event) => {
    if (event.kind !== 'telemetry') return
    stopListening()
    resolve(Number(process.hrtime.bigint()) / 1e6)
  })
  return promise
}

async function mainPid(machine: Machine): Promise<number> {
  return await machine.hostPid(Number(await property(machine, 'MainPID')))
}

function mapValues<K extends string, V>(
  of: Readonly<Record<K, unknown>>,
  value: (key: K) => V,
): Readonly<Record<K, V>> {
  const keys = Object.keys(of) as K[]
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>
}
