import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { isThere } from './move.ts'
import { CONFIG_FILE } from './plan.ts'
import type { ImportProblem, Plan } from './plan.ts'

const FOLDER = '/etc/iot-device-agent'

/** What the agent would refuse of its configuration with the new file in it. Nothing of the machine is changed. */
export async function checkConfig(
  root: string,
  { configText }: Pick<Plan, 'configText'>,
): Promise<readonly ImportProblem[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'iot-device-agent-import-'))
  try {
    await mkdir(join(scratch, 'config.d'))
    await copyConfig(join(root, FOLDER), scratch)
    await writeFile(join(scratch, 'config.d', basename(CONFIG_FILE)), configText)
    const loaded = loadConfig({ environment: {}, folder: scratch })
    if (loaded.ok) return []
    const here = (text: string) => text.replaceAll(scratch, FOLDER)
    return loaded.problems.map(({ key, problem, remedy, origin }) => {
      const place = key === undefined || origin === undefined ? '' : ` (${here(origin)})`
      return { problem: here(`${key ?? origin ?? 'configuration'}: ${problem}${place}`), remedy: here(remedy) }
    })
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function copyConfig(from: string, to: string): Promise<void> {
  const dropIns = join(from, 'config.d')
  const names = (await isThere(dropIns)) ? (await readdir(dropIns)).filter((name) => name.endsWith('.toml')) : []
  const files = ['config.toml', ...names.map((name) => join('config.d', name))]
  for (const file of files) if (await isThere(join(from, file))) await copyFile(join(from, file), join(to, file))
}
