import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { loadConfig } from '../../../agent/config/load.ts'
import type { LoadOptions } from '../../../agent/config/load.ts'
import type { Config } from '../../../agent/config/paths.ts'
import type { Problem } from '../../../agent/config/problems.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

/** What every device needs, as the environment of the Python client says it. */
export const enough = { DPS_ID_SCOPE: '0ne00ABCDEF', DEVICE_ID: 'press-07' }

/** A configuration folder with these files, gone at the end of the block. */
export async function makeConfigFolder(files: Readonly<Record<string, string | Uint8Array>>) {
  const folder = await makeTemporaryFolder()
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, name)), { recursive: true })
    await writeFile(join(folder.path, name), content)
  }
  return folder
}

/** The configuration of `config.toml` with this text beside the environment, which is enough by itself. */
export async function loadText(text: string, environment: LoadOptions['environment'] = enough) {
  await using folder = await makeConfigFolder({ 'config.toml': text })
  return loadConfig({ environment, folder: folder.path, pythonFolder: join(folder.path, 'iot-certs') })
}

export function configOf(loaded: ReturnType<typeof loadConfig>): Config {
  if (loaded.ok) return loaded.value
  throw new Error(`not loaded: ${JSON.stringify(loaded.problems)}`)
}

export function problemsOf(loaded: ReturnType<typeof loadConfig>): readonly Problem[] {
  if (!loaded.ok) return loaded.problems
  throw new Error('loaded without a problem')
}

/** The one problem of a configuration that must have exactly one. */
export function onlyProblem(loaded: ReturnType<typeof loadConfig>): Problem {
  const [problem, ...more] = problemsOf(loaded)
  if (problem === undefined || more.length > 0)
    throw new Error(`not one problem: ${JSON.stringify([problem, ...more])}`)
  return problem
}
