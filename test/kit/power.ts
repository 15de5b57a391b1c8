/**
 * A disk whose power can be cut: ext4 in a file on btrfs. The file is cloned at one instant, by the file system beneath,
 * and the clone is what a machine would find after the power has come back: what ext4 had handed down by then, and nothing
 * of what was still in memory. The journal is replayed when the clone is mounted.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Mounted extends AsyncDisposable {
  readonly path: string
}

export interface PowerDisk extends Mounted {
  /** Cuts the power; what goes on on the disk goes on. */
  cut(): Promise<PowerCut>
}

export interface PowerCut {
  /** What is found after the power has come back. */
  mount(): Promise<Mounted>
}

/** Megabytes of the disk, and of what all of its clones may take. */
const DISK = '128M'
const HOST = '1200M'

/** Why this machine cannot cut the power of a disk; undefined when it can. */
export async function powerTrouble(): Promise<string | undefined> {
  try {
    await using disk = await openPowerDisk()
    const cut = await disk.cut()
    await using _ = await cut.mount()
    return undefined
  } catch (error) {
    return `no disk whose power can be cut (it needs root, loop devices, btrfs-progs and e2fsprogs): ${String(error)}`
  }
}

export async function openPowerDisk(): Promise<PowerDisk> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'power-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const image = join(folder, 'host.img')
  await run('truncate', ['-s', HOST, image])
  await run('mkfs.btrfs', ['-q', '-f', image])
  const { path: host } = stack.use(await mount(image, join(folder, 'host')))
  const disk = join(host, 'disk.img')
  await run('truncate', ['-s', DISK, disk])
  await run('mkfs.ext4', ['-q', '-F', disk])
  const { path } = stack.use(await mount(disk, join(folder, 'disk')))
  const all = stack.move()
  let cuts = 0
  return {
    path,
    async cut() {
      cuts += 1
      const clone = join(host, `cut-${cuts}.img`)
      await run('cp', ['--reflink=always', disk, clone])
      return { mount: () => mountClone(clone, join(folder, `cut-${cuts}`)) }
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function mountClone(clone: string, path: string): Promise<Mounted> {
  const mounted = await mount(clone, path)
  return {
    path,
    async [Symbol.asyncDispose]() {
      await mounted[Symbol.asyncDispose]()
      await rm(clone)
    },
  }
}

/** Nothing stays mounted, also when the test is given up. */
async function mount(image: string, path: string): Promise<Mounted> {
  await mkdir(path)
  // Without it ext4 writes a renamed file at once, which others do not.
  const options = image.endsWith('host.img') ? 'loop' : 'loop,noauto_da_alloc'
  await run('mount', ['-o', options, image, path])
  const end = () => void execFileSync('umount', ['-l', path], { stdio: 'inherit' })
  process.once('exit', end)
  return {
    path,
    async [Symbol.asyncDispose]() {
      await run('umount', [path])
      process.off('exit', end)
    },
  }
}
