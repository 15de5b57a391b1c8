/** Builds the Debian packages: see scripts/package. The same source gives the same bytes. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmod,
  copyFile,
  lutimes,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import about from '../../package.json' with { type: 'json' }
import { sourceTimeMs } from '../source-time.ts'
import { packageName } from './about.ts'
import type { Arch, PackageAbout } from './about.ts'
import { bundledComponents, runtimeComponent } from './contents.ts'
import { controlOf } from './control.ts'
import { writeDocuments } from './documents.ts'
import { installRuntime } from './runtime.ts'

const run = promisify(execFile)
const top = fileURLToPath(new URL('../..', import.meta.url))
const PROGRAM = 'usr/lib/iot-device-agent'

/** Everything that is copied as it is: from the source, to the package, with its mode. */
const files: readonly (readonly [from: string, to: string, mode: number])[] = [
  ['scripts/launcher.sh', `${PROGRAM}/iot-device-agent`, 0o755],
  ['packaging/seal.sh', `${PROGRAM}/seal`, 0o755],
  ['packaging/lay-out-key.sh', `${PROGRAM}/lay-out-key`, 0o755],
  ...['tpm.conf', 'openssl-tpm-arm64.cnf', 'openssl-tpm-x86-64.cnf'].map(
    (name) => [`packaging/key-stores/${name}`, `usr/share/iot-device-agent/${name}`, 0o644] as const,
  ),
  ['systemd/iot-device-agent.service', 'usr/lib/systemd/system/iot-device-agent.service', 0o644],
  ['systemd/iot-device-agent.preset', 'usr/lib/systemd/system-preset/60-iot-device-agent.preset', 0o644],
  ['systemd/iot-device-agent.sysusers', 'usr/lib/sysusers.d/iot-device-agent.conf', 0o644],
  ['systemd/iot-device-agent.tmpfiles', 'usr/lib/tmpfiles.d/iot-device-agent.conf', 0o644],
]

/** Packing: `xz` for devices, in one thread so that the number of processors does not show; `zstd` where time counts. */
const packing = {
  xz: ['-Zxz', '-z6', '--threads-max=1'],
  zstd: ['-Zzstd', '-z1', '--threads-max=1'],
} as const

const { values } = parseArgs({
  options: {
    arch: { type: 'string', multiple: true, default: ['arm64', 'amd64', 'all'] },
    compression: { type: 'string', default: 'xz' },
    out: { type: 'string', default: join(top, 'build/packages') },
    'package-version': { type: 'string', default: about.version },
  },
})

for (const arch of values.arch) console.log(await build(oneOf(arch, ['arm64', 'amd64', 'all'])))

/** One line about what was built: path, bytes, installed bytes, SHA-256. */
async function build(arch: Arch): Promise<string> {
  const timeMs = await sourceTimeMs(top, process.env)
  if (timeMs === undefined) throw new Error('the time of the source is not known: set SOURCE_DATE_EPOCH')
  const version = values['package-version']
  const made: PackageAbout = {
    name: packageName(arch),
    version,
    arch,
    withRuntime: arch !== 'all',
    sourceTimeMs: timeMs,
  }
  const work = await mkdtemp(join(tmpdir(), 'iot-device-agent-package-'))
  try {
    const root = join(work, 'root')
    await layOut(root, made)
    const contents = await seal(root, made)
    const out = resolve(values.out)
    await mkdir(out, { recursive: true })
    const deb = join(out, `${made.name}_${version}_${arch}.deb`)
    const flags = packing[oneOf(values.compression, ['xz', 'zstd'])]
    const environment = { ...process.env, SOURCE_DATE_EPOCH: String(timeMs / 1000) }
    await run('dpkg-deb', ['--root-owner-group', ...flags, '--build', root, deb], { env: environment })
    const bytes = await readFile(deb)
    return [deb, bytes.length, contents, createHash('sha256').update(bytes).digest('hex')].join(' ')
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Everything that is below / on the device. */
async function layOut(root: string, made: PackageAbout): Promise<void> {
  for (const [from, to, mode] of [...files, ...(await timers())]) await place(join(top, from), join(root, to), mode)
  const lib = join(root, PROGRAM, 'lib')
  await mkdir(lib, { recursive: true })
  const environment = { ...process.env, SOURCE_DATE_EPOCH: String(made.sourceTimeMs / 1000) }
  const bundle = join(lib, 'iot-device-agent.cjs')
  const list = `${root}.packages`
  const words = [join(top, 'scripts/bundle.ts'), bundle, '--packages', list]
  await run(process.execPath, words, { env: environment, cwd: top })
  await chmod(bundle, 0o644)
  const folders = Object.keys(JSON.parse(await readFile(list, 'utf8')) as Readonly<Record<string, number>>)
  const components = [...(await bundledComponents(top, folders.filter(Boolean)))]
  if (made.arch !== 'all') {
    const lock = await readFile(join(top, 'package-lock.json'), 'utf8')
    const licence = await installRuntime(made.arch, lock, join(lib, 'node'))
    await chmod(join(lib, 'node'), 0o755)
    components.push(runtimeComponent(made.arch, lock, licence))
  }
  await mkdir(join(root, 'usr/bin'), { recursive: true })
  await symlink('../lib/iot-device-agent/iot-device-agent', join(root, 'usr/bin/iot-device-agent'))
  await writeDocuments(root, made, components)
  const overrides = await readFile(join(top, 'packaging/debian/lintian-overrides'), 'utf8')
  await mkdir(join(root, 'usr/share/lintian/overrides'), { recursive: true })
  const mine = overrides.replaceAll(/^iot-device-agent:/gm, `${made.name}:`)
  await writeFile(join(root, 'usr/share/lintian/overrides', made.name), mine)
}

/** The timers and what they start, beside the service. */
async function timers(): Promise<typeof files> {
  const names = (await readdir(join(top, 'systemd'))).filter((name) =>
    /^iot-device-agent-.*\.(service|timer)$/.test(name),
  )
  return names.map((name) => [`systemd/${name}`, `usr/lib/systemd/system/${name}`, 0o644])
}

async function place(from: string, to: string, mode: number): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await copyFile(from, to)
  await chmod(to, mode)
}

/** Control files, sums, and one time for everything; the bytes of the content come back. */
async function seal(root: string, made: PackageAbout): Promise<number> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const paths = entries.map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }))
  const regular = paths
    .filter(({ entry }) => entry.isFile())
    .map(({ path }) => path)
    .toSorted()
  const sums: string[] = []
  let bytes = 0
  for (const path of regular) {
    const content = await readFile(path)
    bytes += content.length
    sums.push(`${createHash('md5').update(content).digest('hex')}  ${path.slice(root.length + 1)}\n`)
  }
  const control = join(root, 'DEBIAN')
  await mkdir(control)
  await writeFile(join(control, 'control'), controlOf(made, bytes))
  await writeFile(join(control, 'md5sums'), sums.join(''))
  for (const name of ['postinst', 'prerm', 'postrm'])
    await place(join(top, 'packaging/debian', name), join(control, name), 0o755)
  await settleFolders(root, made.sourceTimeMs / 1000)
  return bytes
}

async function settleFolders(folder: string, timeSeconds: number): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await settleFolders(path, timeSeconds)
    else if (entry.isFile() && ((await stat(path)).mode & 0o111) === 0) await chmod(path, 0o644)
    if (!entry.isDirectory()) await lutimes(path, timeSeconds, timeSeconds)
  }
  await chmod(folder, 0o755)
  await lutimes(folder, timeSeconds, timeSeconds)
}

function oneOf<const Choice extends string>(text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((candidate) => candidate === text)
  if (choice === undefined) throw new Error(`${text} is none of ${choices.join(', ')}`)
  return choice
}
