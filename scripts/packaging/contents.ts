/** What others have made that is in a package: npm packages in the bundle, and the runtime. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockedRuntime } from './runtime.ts'
import type { RuntimeArch } from './runtime.ts'

/** One work of others inside the package. */
export interface Component {
  readonly name: string
  readonly version: string
  /** SPDX expression, as its package.json states it; for the runtime that of its own code. */
  readonly licence: string
  /** Texts of licence and notice as they came, joined; empty when none came with it. */
  readonly text: string
  /** Subresource Integrity of what was fetched. */
  readonly integrity: string
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly license?: unknown
  readonly licenses?: readonly { readonly type?: string }[]
}

const LICENCE_FILE = /^(licen[cs]e|copying|notice)(\.(md|txt|mit|apache2?))?$/i

/** @param folders as `node_modules/pino`, below `top` */
export async function bundledComponents(top: string, folders: readonly string[]): Promise<readonly Component[]> {
  const lock = JSON.parse(await readFile(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly integrity?: string }>>
  }
  return Promise.all(
    folders.map(async (folder) => {
      const manifest = JSON.parse(await readFile(join(top, folder, 'package.json'), 'utf8')) as Manifest
      const { name, version } = manifest
      const integrity = lock.packages[folder]?.integrity
      if (integrity === undefined) throw new Error(`${folder} is in the bundle and not in package-lock.json`)
      return { name, version, licence: licenceOf(manifest), text: await licenceText(join(top, folder)), integrity }
    }),
  )
}

/** The runtime, with the licence of all that is built into it. */
export function runtimeComponent(arch: RuntimeArch, lockText: string, licence: string): Component {
  const { npm, version, integrity } = lockedRuntime(lockText, arch)
  return { name: npm, version, licence: 'MIT', text: licence.trim(), integrity }
}

/** @throws Error when nobody said under what terms it may be passed on */
function licenceOf({ name, license, licenses }: Manifest): string {
  if (typeof license === 'string') return license
  const first = licenses?.[0]?.type
  if (first !== undefined) return first
  throw new Error(`${name} states no licence in its package.json`)
}

async function licenceText(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => LICENCE_FILE.test(name)).toSorted()
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  return texts.map((text) => text.trim()).join('\n\n')
}
