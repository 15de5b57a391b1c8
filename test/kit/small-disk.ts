/** Disks that run full, or turn read-only while files are open: real ones, so that the kernel is the one that refuses. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errorCode } from '../../agent/system/error-code.ts'

const run = promisify(execFile)

export interface SmallDisk extends AsyncDisposable {
  readonly path: string
  /** Takes all room that is left, to the last page. */
  fill(): Promise<void>
  /** Gives it back. */
  free(): Promise<void>
  remount(how: 'ro' | 'rw'): Promise<void>
}

export interface FailingDisk extends AsyncDisposable {
  readonly path: string
  /** As after an error of the storage: from now on everything that is written is refused (EROFS). */
  fail(): Promise<void>
  /** As after a restart of the machine. Nothing may be open there. */
  restart(): Promise<void>
}

/** Set for a test that runs in a namespace of its own, where it may mount. */
const INSIDE = 'MOUNTS_OF_ITS_OWN'

/**
 * Why this process cannot mount such disks; undefined when it can. Without root, another process may be able to, in a
 * namespace of its own: `inNamespace`.
 */
export async function mountTrouble(): Promise<string | undefined> {
  try {
    await using _ = await openSmallDisk(1_000_000)
    return undefined
  } catch (error) {
    return `a tmpfs cannot be mounted: ${String(error)}`
  }
}

/** Whether it is worth a try. */
export function mayEnterNamespace(): boolean {
  return process.getuid?.() !== 0 && process.env[INSIDE] === undefined
}

/** Runs a file of tests where it may mount; rejects with what they print when one fails. */
export async function inNamespace(file: string): Promise<void> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const words = ['-rm', process.execPath, '--test', file]
  await run('unshare', words, { env: { ...env, [INSIDE]: 'yes' } }).catch((error: unknown) => {
    throw new Error(error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error))
  })
}

export async function openSmallDisk(bytes: number): Promise<SmallDisk> {
  await using stack = new AsyncDisposableStack()
  const path = await folder(stack, 'small-')
  stack.use(await mount(path, ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs']))
  const ballast = join(path, 'ballast')
  const all = stack.move()
  return {
    path,
    async fill() {
      await using file = await open(ballast, 'a')
      for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
        try {
          for (;;) await file.write(Buffer.alloc(size))
        } catch (error) {
          if (errorCode(error) !== 'ENOSPC') throw error
        }
      }
    },
    free: () => rm(ballast),
    remount: async (how) => void (await run('mount', ['-o', `remount,bind,${how}`, path])),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

export async function openFailingDisk(): Promise<FailingDisk> {
  await using stack = new AsyncDisposableStack()
  const parent = await folder(stack, 'failing-')
  const [image, path] = [join(parent, 'disk.img'), join(parent, 'disk')]
  await mkdir(path)
  await run('truncate', ['-s', '32M', image])
  await run('mkfs.ext4', ['-q', '-F', image])
  const mountImage = () => mount(path, ['-o', 'loop', image])
  let disk = await mountImage()
  stack.defer(() => disk[Symbol.asyncDispose]())
  const all = stack.move()
  return {
    path,
    fail: async () => void (await run('mount', ['-o', 'remount,abort', path])),
    async restart() {
      await disk[Symbol.asyncDispose]()
      disk = await mountImage()
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function folder(stack: AsyncDisposableStack, prefix: string): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), prefix))
  stack.defer(() => rm(path, { recursive: true }))
  return path
}

/** Nothing stays mounted, also when the test is given up. */
async function mount(path: string, words: readonly string[]): Promise<AsyncDisposable> {
  await run('mount', [...words, path])
  const end = () => void execFileSync('umount', ['-l', path], { stdio: 'inherit' })
  process.once('exit', end)
  return {
    async [Symbol.asyncDispose]() {
      await run('umount', [path])
      process.off('exit', end)
    },
  }
}
