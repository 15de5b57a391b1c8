/** A machine of its own: Debian for arm64, its kernel and its systemd, in an emulated computer. */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, copyFile, mkdir, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

/** Where the host is, as the machine sees it. Source: QEMU, "Using the user mode network stack". */
export const HOST_ADDRESS = '10.0.2.2'

/** Until systemd has started, in milliseconds: 17 s were seen on an idle machine with two cores. */
const BOOT_WITHIN_MS = 240_000

export interface VirtualMachine extends AsyncDisposable {
  /** Runs a shell script to its end; stdout and stderr come together. */
  run(script: string, withinMs?: number): Promise<{ readonly status: number; readonly output: string }>
  /** What a script prints; fails when it does not end with 0. */
  shell(script: string, withinMs?: number): Promise<string>
  /** Runs a script, again and again, until it ends with 0. */
  until(script: string, withinMs: number): Promise<string>
}

export interface VirtualMachineOptions {
  /** What make-arm64 has left. */
  readonly folder: string
  /** Files of the host that are in /root of the machine. */
  readonly files: readonly string[]
}

/** Switches the machine on; it has a TPM, a network card to this host, and a shell. */
export async function bootVirtualMachine({ folder, files }: VirtualMachineOptions): Promise<VirtualMachine> {
  await using parts = new AsyncDisposableStack()
  const work = parts.use(await makeTemporaryFolder()).path
  const initrd = await makeInitrd(folder, files, work)
  const tpm = parts.adopt(startTpm(work), end)
  await appears(join(work, 'tpm.sock'), tpm)
  const console_ = join(work, 'console.log')
  const machine = parts.adopt(startMachine({ kernel: join(folder, 'vmlinuz'), initrd, work, console_ }), end)
  const shell = join(work, 'shell.sock')
  await appears(shell, machine)
  const socket = parts.adopt(connect(shell), (open) => void open.destroy())
  const conversation = converse(socket)
  await conversation.reads('shell-ready\n', BOOT_WITHIN_MS).catch(async (cause: unknown) => {
    throw new Error(`the machine does not start: ${await readFile(console_, 'utf8')}`, { cause })
  })
  const owned = parts.move()
  const runScript: VirtualMachine['run'] = async (script, withinMs = 60_000) => {
    const mark = `end-of-script-${Math.random().toString(36).slice(2)}`
    const words = Buffer.from(script).toString('base64')
    socket.write(`sh -c "$(echo ${words} | base64 -d)" </dev/null 2>&1; printf '\\n%s %s\\n' ${mark} $?\n`)
    const said = await conversation.reads(new RegExp(`\\n${mark} (\\d+)\\n`), withinMs)
    const status = Number(said.slice(said.lastIndexOf(mark) + mark.length))
    return { status, output: said.slice(0, said.lastIndexOf(mark) - 1) }
  }
  const shellScript: VirtualMachine['shell'] = async (script, withinMs) => {
    const { status, output } = await runScript(script, withinMs)
    if (status !== 0) throw new Error(`${script}\nended with ${status}:\n${output}`)
    return output
  }
  return {
    run: runScript,
    shell: shellScript,
    until: (script, withinMs) =>
      shellScript(
        `for i in $(seq ${Math.ceil(withinMs / 500)}); do { ${script}; } && exit 0; sleep .5; done; exit 1`,
        2 * withinMs,
      ),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The kernel reads one archive after the other, so the machine's files need no copy of the whole system. */
async function makeInitrd(folder: string, files: readonly string[], work: string): Promise<string> {
  const added = join(work, 'added')
  await mkdir(join(added, 'root'), { recursive: true })
  for (const file of files) await copyFile(file, join(added, 'root', basename(file)))
  const initrd = join(work, 'initrd.cpio')
  const script = 'cp --reflink=auto "$1" "$3"; cd "$2"; find . -print | cpio -o -H newc --quiet >>"$3"'
  await run('sh', ['-ec', script, 'sh', join(folder, 'initrd.cpio'), added, initrd])
  return initrd
}

function startTpm(work: string): ChildProcess {
  const state = ['--tpmstate', `dir=${work}`, '--ctrl', `type=unixio,path=${join(work, 'tpm.sock')}`]
  return spawn('swtpm', ['socket', '--tpm2', ...state], { stdio: 'ignore' })
}

interface Machine {
  readonly kernel: string
  readonly initrd: string
  readonly work: string
  readonly console_: string
}

function startMachine({ kernel, initrd, work, console_ }: Machine): ChildProcess {
  const computer = ['-M', 'virt', '-cpu', 'cortex-a72', '-smp', '2', '-m', '1536', '-display', 'none', '-no-reboot']
  const system = ['-kernel', kernel, '-initrd', initrd]
  const words = [
    '-append',
    'rdinit=/sbin/init console=ttyAMA0 systemd.show_status=0 systemd.getty_auto=0 net.ifnames=0 quiet',
  ]
  const consoles = ['-monitor', 'none', '-serial', `file:${console_}`, '-device', 'virtio-serial-pci']
  const shell = ['-chardev', `socket,id=shell,path=${join(work, 'shell.sock')},server=on,wait=off`]
  const network = ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile=']
  const tpm = ['-chardev', `socket,id=tpm,path=${join(work, 'tpm.sock')}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm']
  const args = [computer, system, words, consoles, shell, ['-device', 'virtconsole,chardev=shell'], network, tpm]
  return spawn('qemu-system-aarch64', [...args.flat(), '-device', 'tpm-tis-device,tpmdev=tpm'], { stdio: 'inherit' })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Waits for a socket that `maker` makes; nothing tells of it but its name. */
async function appears(path: string, maker: ChildProcess): Promise<void> {
  for (const deadline = performance.now() + 10_000; performance.now() < deadline;) {
    if (maker.exitCode !== null) throw new Error(`${maker.spawnfile} ended with ${maker.exitCode}`)
    const there = await access(path).then(
      () => true,
      () => false,
    )
    if (there) return
    await delay(50)
  }
  throw new Error(`${maker.spawnfile} makes no ${path}`)
}

interface Conversation {
  /** Waits for a text on the console; what came until its end comes back and is gone. */
  reads(wanted: string | RegExp, withinMs: number): Promise<string>
}

function converse(socket: Socket): Conversation {
  const state = { text: '', over: false }
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    state.text += text
    socket.emit('more')
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    state.over = true
    socket.emit('more')
  })
  const found = (wanted: string | RegExp) => {
    const hit = typeof wanted === 'string' ? { index: state.text.indexOf(wanted), 0: wanted } : wanted.exec(state.text)
    if (hit === null || hit.index < 0) return undefined
    const said = state.text.slice(0, hit.index + hit[0].length)
    state.text = state.text.slice(said.length)
    return said
  }
  return {
    async reads(wanted, withinMs) {
      const late = AbortSignal.timeout(withinMs)
      for (;;) {
        const said = found(wanted)
        if (said !== undefined) return said
        if (state.over) throw new Error(`the machine is off; it said: ${state.text}`)
        await once(socket, 'more', { signal: late }).catch((cause: unknown) => {
          throw new Error(`no ${String(wanted)} within ${withinMs} ms; the machine said: ${state.text}`, { cause })
        })
      }
    },
  }
}
