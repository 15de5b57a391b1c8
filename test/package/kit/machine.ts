/** A machine with a systemd of its own: Debian in a container, on the kernel, the network and the processor of this host. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { rootFolder } from './roots.ts'
import type { Suite } from './roots.ts'

const call = promisify(execFile)
const script = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Until systemd says `running`, in milliseconds; below 1 s was seen on an idle machine. */
const BOOT_WITHIN_MS = 60_000
/** Until one command has ended, when nothing else is said. */
const RUN_WITHIN_MS = 60_000
/** Between two looks at a condition. */
const LOOK_EVERY_MS = 100

export interface Ran {
  /** -1 when it was ended because it took too long. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface MachineOptions {
  /** Debian as scripts/root makes it, or the folder of an image. */
  readonly suite: Suite | { readonly root: string }
  /** Flags of systemd-nspawn that say where is written to; to memory only when left out. */
  readonly layers?: readonly string[]
  /** Files of the host that are in /root of the machine. */
  readonly files?: readonly string[]
}

export interface Machine extends AsyncDisposable {
  /** Process 1 of the machine, as the host counts. */
  readonly leaderPid: number
  /** Runs one program to its end, as root. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>
  /** What a shell script prints, without white space at its ends; fails when it does not end with 0. */
  shell(text: string, options?: RunOptions): Promise<string>
  /** Runs a shell script again and again until it ends with 0; what it printed then. */
  until(text: string, withinMs?: number): Promise<string>
  /** The lines of a unit, as journalctl tells them in JSON. */
  journal(unit: string): Promise<readonly JournalLine[]>
  write(path: string, content: string, mode?: number): Promise<void>
  read(path: string): Promise<string>
  /** The number that the host has for a process of the machine. */
  hostPid(pid: number): Promise<number>
  /** Everything that the machine has said: its console and its journal. */
  story(): Promise<string>
}

export interface RunOptions {
  readonly withinMs?: number
  readonly input?: string
}

/** One entry of the journal. Source: systemd.journal-fields(7). */
export type JournalLine = Readonly<Record<string, string>>

/** The root stays as it is, and everything is forgotten at the end. */
const IN_MEMORY = ['--volatile=overlay']

/** Boots a machine over the root of a suite; it is off, and nothing of it is left, at the end of the block. */
export async function bootMachine({ suite, files = [], layers = IN_MEMORY }: MachineOptions): Promise<Machine> {
  await using parts = new AsyncDisposableStack()
  const root = typeof suite === 'string' ? await rootFolder(suite) : suite.root
  const folder = parts.use(await makeTemporaryFolder()).path
  const name = `agent-${typeof suite === 'string' ? suite : 'image'}-${randomBytes(4).toString('hex')}`
  const consoleLog = join(folder, 'console.log')
  const binds = files.map((file) => `--bind-ro=${file}:/root/${basename(file)}`)
  parts.defer(() => call(script('end-machine'), [name]).then(() => undefined))
  const nspawn = parts.adopt(startNspawn([name, root, ...layers, ...binds], consoleLog), cutPower)
  const said = () => readFile(consoleLog, 'utf8')
  const leaderPid = await leaderOf(nspawn).catch(async (cause: unknown) => {
    throw new Error(`the machine did not start: ${await said()}`, { cause })
  })
  const machine = machineOf(leaderPid, said)
  await machine.until('case $(systemctl is-system-running) in running | degraded) ;; *) exit 1 ;; esac', BOOT_WITHIN_MS)
  const everything = parts.move()
  return { ...machine, [Symbol.asyncDispose]: () => everything.disposeAsync() }
}

function startNspawn(args: readonly string[], consoleLog: string): ChildProcess {
  const log = openSync(consoleLog, 'w')
  const child = spawn(script('boot-machine'), args, { stdio: ['ignore', log, log], detached: true })
  closeSync(log)
  // Process 1 of the machine outlives systemd-nspawn when that is killed; its cgroup has everything.
  const end = () => void spawnSync(script('end-machine'), args.slice(0, 1))
  process.once('exit', end)
  child.once('close', () => process.off('exit', end))
  return child
}

/** As a pulled plug does. */
async function cutPower(nspawn: ChildProcess): Promise<void> {
  if (nspawn.exitCode !== null || nspawn.signalCode !== null) return
  const closed = once(nspawn, 'close')
  nspawn.kill('SIGKILL')
  await closed
}

/** The child of systemd-nspawn that is process 1 of the machine. */
async function leaderOf(nspawn: ChildProcess): Promise<number> {
  const endsAt = performance.now() + BOOT_WITHIN_MS
  while (performance.now() < endsAt && nspawn.exitCode === null) {
    const children = await textOf(`/proc/${nspawn.pid}/task/${nspawn.pid}/children`)
    for (const pid of children.trim().split(' ').map(Number)) {
      if ((await textOf(`/proc/${pid}/comm`)) === 'systemd\n') return pid
    }
    await delay(LOOK_EVERY_MS)
  }
  throw new Error('systemd was not started')
}

/** Looks for the process that is called `pid` inside. Source: proc_pid_status(5), NSpid. */
async function hostPidOf(leaderPid: number, pid: number): Promise<number> {
  const namespace = await readlink(`/proc/${leaderPid}/ns/pid`)
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    if ((await readlink(`/proc/${entry}/ns/pid`).catch(none)) !== namespace) continue
    if (new RegExp(`^NSpid:.*\\s${pid}$`, 'm').test(await textOf(`/proc/${entry}/status`))) return Number(entry)
  }
  throw new Error(`the machine has no process ${pid}`)
}

/** A process may end while it is looked at. */
const none = () => ''
const textOf = (path: string) => readFile(path, 'utf8').catch(none)

type Inside = Omit<Machine, typeof Symbol.asyncDispose>

function machineOf(leaderPid: number, consoleLog: () => Promise<string>): Inside {
  const enter = ['-t', String(leaderPid), '-m', '-u', '-i', '-p', '-C', '--', '/usr/bin/env', '-i', ...VARIABLES]
  const run: Inside['run'] = (argv, options) => runInGroup('nsenter', [...enter, ...argv], options)
  const story = async () => {
    const journal = await run(['journalctl', '--no-pager', '--boot', '--lines=150'])
    return `--- console\n${await consoleLog()}\n--- journal\n${journal.stdout}${journal.stderr}`
  }
  const tell = async (argv: readonly string[], options?: RunOptions) => {
    const { status, stdout, stderr } = await run(argv, options)
    if (status === 0) return stdout
    throw new Error(`${argv.join(' ')} ended with ${status}\n${stdout}${stderr}\n${await story()}`)
  }

  return {
    ...{ leaderPid, run, story },
    hostPid: (pid) => hostPidOf(leaderPid, pid),
    read: (path) => tell(['cat', path]),
    shell: async (text, options) => (await tell(['sh', '-euc', text], options)).trim(),
    async until(text, withinMs = 30_000) {
      const endsAt = performance.now() + withinMs
      for (;;) {
        const { status, stdout, stderr } = await run(['sh', '-euc', text])
        if (status === 0) return stdout.trim()
        if (performance.now() > endsAt) {
          throw new Error(`not within ${withinMs} ms: ${text}\n${stdout}${stderr}\n${await story()}`)
        }
        await delay(LOOK_EVERY_MS)
      }
    },
    async journal(unit) {
      const lines = (await tell(['journalctl', '--unit', unit, '--output=json', '--no-pager'])).split('\n')
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as JournalLine)
    },
    async write(path, content, mode = 0o644) {
      await tell(['sh', '-euc', PLACE, 'write', path, mode.toString(8)], { input: content })
    },
  }
}

/** Puts a file into its place whole. */
const PLACE = `mkdir -p "$(dirname "$1")"
cat >"$1.new"
chmod "$2" "$1.new"
mv "$1.new" "$1"`

/** What a login of root has, in a system that nobody has set up. */
const VARIABLES = [
  'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'LC_ALL=C.UTF-8',
  'DEBIAN_FRONTEND=noninteractive',
  'SYSTEMD_COLORS=0',
]

/** Runs a program in a process group of its own, which ends with it or with its time. */
async function runInGroup(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { withinMs = RUN_WITHIN_MS, input = '' } = options
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  // A program that does not read its input is no failure of the test.
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const end = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), withinMs)
  const [status] = (await once(child, 'close')) as [number | null]
  clearTimeout(end)
  return { status: status ?? -1, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
}
