/** The packages under test, as scripts/package leaves them. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import about from '../../../package.json' with { type: 'json' }
import { nativeArch } from './roots.ts'

const run = promisify(execFile)
const build = fileURLToPath(new URL('../../../build', import.meta.url))
const script = fileURLToPath(new URL('../../../scripts/package', import.meta.url))

/** Of this source, and one that says it is older. */
export const versions = { present: about.version, older: '0.0.9' } as const

/** The package for this machine; scripts/test-package has built it anew, and else it is built when it is not there. */
export function presentPackage(): Promise<string> {
  return packageOf(versions.present, join(build, 'packages'))
}

/** The same program under an older version number. */
export function olderPackage(): Promise<string> {
  return packageOf(versions.older, join(build, 'packages-older'))
}

/** The package that uses the Node of the system. */
export function systemNodePackage(): Promise<string> {
  return packageOf(versions.present, join(build, 'packages'), 'all')
}

async function packageOf(version: string, folder: string, arch: string = nativeArch): Promise<string> {
  const name = arch === 'all' ? 'iot-device-agent-system-node' : 'iot-device-agent'
  const path = join(folder, `${name}_${version}_${arch}.deb`)
  if (existsSync(path)) return path
  const flags = ['--arch', arch, '--compression', 'zstd', '--package-version', version, '--out', folder]
  await mkdir(folder, { recursive: true })
  await run('flock', [join(folder, 'lock'), script, ...flags])
  return path
}
