/** A machine of an older client below a folder, with a systemd that is only remembered. */
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { existsSync, lstatSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import type { Status } from '../../agent/control/status.ts'
import { Failure } from '../../agent/failure.ts'
import type { RunningAgent } from '../../agent/takeover/prove.ts'
import { OUR_TIMER, OUR_UNIT } from '../../agent/takeover/systemctl.ts'
import type { Systemctl } from '../../agent/takeover/systemctl.ts'
import { makeKey, makeRequest, makeRoot } from './openssl.ts'

export const DEVICE = 'press-07'
export const SECRET = Buffer.from('a key of thirty-two bytes, exact').toString('base64')
export const CONNECTION_STRING = `HostName=hub.azure-devices.net;DeviceId=${DEVICE};SharedAccessKey=${SECRET}`

/** Writes files below a root, by their paths on the machine. */
export async function lay(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
}

export function unitText(lines: string, program = '/opt/iot-agent/iot_device_x509.py'): string {
  return `[Unit]\nDescription=old\n\n[Service]\n${lines}\nExecStart=/usr/bin/python3 ${program}\nUser=iot\n\n[Install]\nWantedBy=multi-user.target\n`
}

/** What every machine with our package has. */
export async function layPackage(root: string): Promise<void> {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  await lay(root, {
    '/etc/passwd': `root:x:0:0::/root:/bin/sh\niot-device-agent:x:${uid}:${gid}::/:/bin/false\n`,
    [`/usr/lib/systemd/system/${OUR_UNIT}`]:
      '[Service]\nExecStart=/usr/lib/iot-device-agent/iot-device-agent run\nUser=iot-device-agent\n',
    [`/usr/lib/systemd/system/${OUR_TIMER}`]: '[Timer]\nOnBootSec=1h\n',
  })
}

/** The device of the tutorial, whose unit has the name that is given and is enabled. */
export async function layTutorial(root: string, name = OUR_UNIT): Promise<void> {
  await layPackage(root)
  await lay(root, {
    [`/etc/systemd/system/${name}`]: unitText('Environment=DPS_ID_SCOPE=0ne00ABCDEF TELEMETRY_INTERVAL=30'),
    [`/etc/systemd/system/${name}.d/id.conf`]: `[Service]\nEnvironment="DEVICE_ID=${DEVICE}"\n`,
    '/opt/iot-agent/iot_device_x509.py': 'c = ProvisioningDeviceClient.create_from_x509_certificate()\n',
  })
  await mkdir(join(root, '/etc/systemd/system/multi-user.target.wants'), { recursive: true })
  await symlink(`/etc/systemd/system/${name}`, join(root, '/etc/systemd/system/multi-user.target.wants', name))
  await layPair(root, DEVICE)
}

export async function layPair(root: string, commonName: string, notAfter?: Date): Promise<void> {
  const folder = join(root, '/etc/iot-certs')
  await mkdir(folder, { recursive: true })
  const authority = await makeRoot(await scratch(root), 'Root')
  const key = await makeKey(join(folder, `${DEVICE}.key`))
  const profile = notAfter === undefined ? {} : { notBefore: new Date(notAfter.getTime() - 86_400_000), notAfter }
  const certificate = await authority.sign(await makeRequest(key, `/CN=${commonName}`), profile)
  await writeFile(join(folder, `${DEVICE}.pem`), certificate)
}

async function scratch(root: string): Promise<string> {
  const folder = `${root}-authority`
  await mkdir(folder, { recursive: true })
  return folder
}

/** Every file and link below some folders with what it holds. */
export async function picture(root: string, folders: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const seen: Record<string, string> = {}
  for (const folder of folders) {
    if (!existsSync(join(root, folder))) continue
    for (const name of (await readdir(join(root, folder), { recursive: true })).toSorted()) {
      const path = join(root, folder, name)
      const found = lstatSync(path)
      if (found.isSymbolicLink()) seen[join(folder, name)] = `-> ${readlinkSync(path)}`
      else if (found.isFile()) seen[join(folder, name)] = await readFile(path, 'utf8')
    }
  }
  return seen
}

export interface FakeMachine {
  readonly systemctl: { -readonly [Name in keyof Systemctl]: Systemctl[Name] }
  readonly agent: RunningAgent
  /** Units that run, by the file that they were started from. */
  readonly running: Map<string, string>
  readonly calls: string[]
  /** Whether two programs with the identity of the device ever ran at once. */
  clashed: boolean
}

export interface Temper {
  /** The new agent never gets its connection. */
  readonly fails?: boolean
  /** The lane on which the new agent connects. */
  readonly mode?: 'sas' | 'x509'
}

/** A systemd that looks units up as the real one does: the strongest folder first. */
export function createFakeMachine(root: string, temper: Temper = {}): FakeMachine {
  const links = join(root, '/etc/systemd/system/multi-user.target.wants')
  const calls: string[] = []
  const running = new Map<string, string>()
  const fileOf = (unit: string) => {
    const places = ['/etc/systemd/system', '/usr/lib/systemd/system'].map((folder) => join(folder, unit))
    return places.find((path) => lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined)
  }
  const isMasked = (path: string) => {
    const found = lstatSync(join(root, path), { throwIfNoEntry: false })
    return found?.isSymbolicLink() === true && readlinkSync(join(root, path)) === '/dev/null'
  }
  const known = (unit: string) => {
    const path = fileOf(unit)
    if (path === undefined || isMasked(path)) throw new Failure('IMPORT_SYSTEMCTL', `${unit} is not there or masked`)
    return path
  }
  const call = (words: string) => void calls.push(words)
  const machine: FakeMachine = {
    ...{ running, calls, clashed: false },
    systemctl: {
      daemonReload: async () => call('daemon-reload'),
      async stop(unit) {
        call(`stop ${unit}`)
        running.delete(unit)
      },
      async start(unit) {
        call(`start ${unit}`)
        running.set(unit, known(unit))
        const configured = existsSync(join(root, '/etc/iot-device-agent/config.d/50-imported.toml'))
        const old = [...running.values()].some((path) => path.startsWith('/etc/'))
        machine.clashed ||= configured && old && running.get(OUR_UNIT)?.startsWith('/usr/') === true
      },
      async enable(unit) {
        call(`enable ${unit}`)
        const path = known(unit)
        if (lstatSync(join(links, unit), { throwIfNoEntry: false }) === undefined) symlinkSync(path, join(links, unit))
      },
      async disable(unit) {
        call(`disable ${unit}`)
        rmSync(join(links, unit), { force: true })
      },
      async mask(unit) {
        call(`mask ${unit}`)
        const path = join(root, '/etc/systemd/system', unit)
        if (lstatSync(path, { throwIfNoEntry: false }) !== undefined)
          throw new Failure('IMPORT_SYSTEMCTL', `${path}: File exists`)
        symlinkSync('/dev/null', path)
      },
      async unmask(unit) {
        call(`unmask ${unit}`)
        if (isMasked(join('/etc/systemd/system', unit))) rmSync(join(root, '/etc/systemd/system', unit))
      },
      isActive: async (unit) => running.has(unit),
      isEnabled: async (unit) => lstatSync(join(links, unit), { throwIfNoEntry: false }) !== undefined,
    },
    agent: {
      async status() {
        if (running.get(OUR_UNIT)?.startsWith('/usr/') !== true)
          throw new Failure('AGENT_NOT_RUNNING', 'nothing listens')
        return statusOf(temper)
      },
      async renew() {
        call('renew')
        return ['a key and a CSR are made']
      },
    },
  }
  return machine
}

function statusOf({ fails = false, mode = 'x509' }: Temper): Status {
  const failure = { code: 'HUB_REFUSED_CREDENTIAL', message: 'the hub said 401', advice: 'check the enrollment' }
  return {
    ...{ format: 1, atMs: 2, agent: { version: '1', pid: 1, startedAtMs: 0 }, warnings: [] },
    device: { registrationId: DEVICE, idScope: '0ne00ABCDEF' },
    connection: fails
      ? { state: 'disconnected', sinceMs: 0, doing: 'waiting', failure }
      : { state: 'connected', sinceMs: 1 },
    auth: { mode, lane: mode, state: 'active' },
    telemetry: { intervalSeconds: 30, acknowledged: 1, buffered: 0, bufferedBytes: 0, dropped: {} },
  }
}
