/** What is in the packages, in bytes. */
import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { PackageSize, Packing, Part } from './figures.ts'

const call = promisify(execFile)
const out = async (file: string, args: readonly string[]) =>
  (await call(file, args, { maxBuffer: 256 * 1024 * 1024 })).stdout

/** What is said of the ELF sections of the runtime, by their names; everything else is "the rest". */
const sections: readonly (readonly [names: RegExp, title: string])[] = [
  [/^\.text$/, 'Node runtime: machine code of V8, OpenSSL, SQLite, libuv, ICU and Node'],
  [/^\.rodata$/, 'Node runtime: other constants, among them V8 builtins, the snapshot and the JavaScript of Node'],
  [/^\.(eh_frame|eh_frame_hdr|gcc_except_table)$/, 'Node runtime: tables for unwinding'],
  [/^\.(dynsym|dynstr|gnu\.hash|gnu\.version)$/, 'Node runtime: names that native add-ons could link to'],
]
const ICU = 'Node runtime: languages, calendars and time zones of all the world (ICU)'

/** Packages lie in `folder` as scripts/package names them. */
export async function sizeOf(deb: string): Promise<PackageSize> {
  const [name = '', , arch = ''] = basename(deb, '.deb').split('_')
  return { name, arch, deb: (await stat(deb)).size, installed: sum(Object.values(await filesOf(deb))) }
}

/** The content of a package packed in other ways. */
export async function packingsOf(deb: string, folder: string): Promise<readonly Packing[]> {
  const tar = join(folder, 'content.tar')
  await call('sh', ['-c', 'dpkg-deb --fsys-tarfile "$1" >"$2"', 'sh', deb, tar])
  const made: Packing[] = []
  for (const flags of ['-1', '-6', '-9e']) {
    const packed = join(folder, `content${flags}.xz`)
    await call('sh', ['-c', 'xz "$1" --threads=1 --stdout "$2" >"$3"', 'sh', flags, tar, packed])
    const summary = /^summary\t(\d+)/m.exec(await out('xz', ['--robot', '--list', '-vv', packed]))?.[1]
    made.push({ flags: `xz ${flags}`, bytes: (await stat(packed)).size, unpackBytes: Number(summary) })
  }
  return made
}

/** @param runtime the binary before it was stripped: its symbols say where the data of ICU is. */
export async function partsOf(deb: string, runtime: string): Promise<readonly Part[]> {
  const files = Object.entries(await filesOf(deb))
  const of = (test: RegExp) => sum(files.filter(([path]) => test.test(path)).map(([, bytes]) => bytes))
  const node = of(/\/lib\/node$/)
  const program = of(/\.cjs$/)
  const documents = of(/^\.\/usr\/share\//)
  const inside = await insideRuntime(runtime)
  return [
    ...inside,
    { title: 'Node runtime: the rest', bytes: node - sum(inside.map(({ bytes }) => bytes)) },
    { title: 'the program', bytes: program },
    { title: 'licences, SBOM, manual, completions, changelog, example', bytes: documents },
    {
      title: 'units, launcher, `seal`, commented configuration',
      bytes: sum(files.map(([, bytes]) => bytes)) - node - program - documents,
    },
  ]
}

/** Sections of an ELF file as readelf lists them: name, type, address, offset, size in hexadecimal. */
async function insideRuntime(path: string): Promise<readonly Part[]> {
  const table = await out('readelf', ['--section-headers', '--wide', path])
  const rows = [...table.matchAll(/^ *\[ *\d+\] (\S+) +\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) /gm)]
  const symbols = await out('readelf', ['--symbols', '--wide', path])
  const icu = Number(/ (0x[0-9a-f]+|\d+) OBJECT +GLOBAL +DEFAULT +\d+ icudt\d+_dat$/m.exec(symbols)?.[1])
  const parts = sections.map(([names, title]) => ({
    title,
    bytes: sum(rows.filter(([, name = '']) => names.test(name)).map(([, , size = '']) => Number.parseInt(size, 16))),
  }))
  const less = parts.map((part) =>
    part.title.includes('other constants') ? { ...part, bytes: part.bytes - icu } : part,
  )
  return [{ title: ICU, bytes: icu }, ...less].toSorted((a, b) => b.bytes - a.bytes)
}

/** Where the bytes of the program come from. @param list what scripts/bundle.ts wrote */
export async function bundleParts(list: string): Promise<readonly Part[]> {
  const bytes = JSON.parse(await readFile(list, 'utf8')) as Readonly<Record<string, number>>
  return Object.entries(bytes)
    .map(([folder, size]) => ({
      title: folder === '' ? 'the agent' : folder.replace(/^node_modules\//, ''),
      bytes: size,
    }))
    .toSorted((a, b) => b.bytes - a.bytes)
}

/** The Python client with everything that it needs. @param python of its virtual environment */
export async function besideParts(python: string, arch: string): Promise<readonly Part[]> {
  const measure = `import importlib.metadata as m, os, re
seen, todo = set(), ["azure-iot-device"]
while todo:
    name = todo.pop()
    if name.lower() in seen: continue
    seen.add(name.lower())
    todo += [re.split(r"[^A-Za-z0-9._-]", r)[0] for r in m.requires(name) or [] if "extra ==" not in r]
print(sum(os.path.getsize(f.locate()) for n in seen for f in m.files(n) or [] if f.locate().is_file()))`
  const client = Number(await out(python, ['-c', measure]))
  const version = (await out(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])).trim()
  const names = ['', '-minimal'].map((end) => `python${version}${end}`)
  const libraries = ['-minimal', '-stdlib'].map((end) => `libpython${version}${end}`)
  const sizes = await out('dpkg-query', ['--show', '--showformat=${Installed-Size}\n', ...names, ...libraries])
  const python3 = sum(sizes.trim().split('\n').map(Number)) * 1024
  return [
    { title: `azure-iot-device for Python and what it needs from PyPI (measured here, ${arch})`, bytes: client },
    { title: `… and Debian's Python ${version} below it (\`Installed-Size\`)`, bytes: python3 },
  ]
}

/** Bytes of each file, by its path in the package. */
async function filesOf(deb: string): Promise<Readonly<Record<string, number>>> {
  const lines = (await out('dpkg-deb', ['--contents', deb])).trim().split('\n')
  const regular = lines.filter((line) => line.startsWith('-')).map((line) => line.split(/\s+/))
  return Object.fromEntries(regular.map((fields) => [fields[5] ?? '', Number(fields[2])]))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
