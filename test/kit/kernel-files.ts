import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Metrics } from '../../agent/telemetry/device-message.ts'
import { createMetricsReader } from '../../agent/telemetry/metrics/read.ts'
import { createTree } from '../../agent/telemetry/metrics/tree.ts'
import { createFakeClock } from './clock.ts'
import { makeTemporaryFolder } from './openssl.ts'

export type KernelFiles = Readonly<Record<string, string | Uint8Array>>

/** Root of the kernel files of a board of test/fixtures. */
export function boardRoot(board: string): string {
  return new URL(`../fixtures/${board}`, import.meta.url).pathname
}

/** Writes kernel files below a folder. */
export async function plant(root: string, files: KernelFiles): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}

/** What a device with the kernel files below `root` measures at first. */
export function measure(root: string, stateFolder = join(root, 'none')): Promise<Metrics> {
  return createMetricsReader({ tree: createTree(root), stateFolder, clock: createFakeClock() })()
}

/** What a device that has only these kernel files measures at first. */
export async function measureFiles(files: KernelFiles): Promise<Metrics> {
  await using root = await makeTemporaryFolder()
  await plant(root.path, files)
  return await measure(root.path)
}
