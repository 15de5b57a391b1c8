/**
 * Completes package-lock.json: `npm install --package-lock-only && node scripts/complete-lock.ts`.
 *
 * The native parts of the linter and formatter are optional packages, one a platform. A registry mirror that carries only
 * some platforms makes npm leave the others out of the lock file, and `npm ci` then refuses the whole of it. This adds
 * what is missing with the platform that its name says, so that `npm ci` knows to pass over it.
 */
import { readFile, writeFile } from 'node:fs/promises'

interface LockedPackage {
  version?: string
  optional?: boolean
  dev?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(await readFile(file, 'utf8')) as { packages: Record<string, LockedPackage> }

const missing = Object.values(lock.packages)
  .flatMap((locked) => Object.entries(locked.optionalDependencies ?? {}))
  .filter(([name]) => lock.packages[`node_modules/${name}`] === undefined)

for (const [name, version] of missing) {
  lock.packages[`node_modules/${name}`] = { version, ...platformOf(name), dev: true, optional: true }
}

/** `@scope/binding-linux-arm-musleabihf` → linux, arm, musl. */
function platformOf(name: string): Pick<LockedPackage, 'os' | 'cpu' | 'libc'> {
  const [os, cpu, abi = ''] = name.replace(/^.*\/(binding-)?/, '').split('-')
  if (os === undefined || cpu === undefined) throw new Error(`${name} does not name its platform`)
  return { os: [os], cpu: [cpu], ...(os === 'linux' && { libc: [abi.startsWith('musl') ? 'musl' : 'glibc'] }) }
}

const sorted = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)))
await writeFile(file, `${JSON.stringify({ ...lock, packages: sorted }, undefined, 2)}\n`)
console.log(`${missing.length} packages added`)
