/** What the arm64 tests need that takes long to make: kept from run to run. */
import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import about from '../../../package.json' with { type: 'json' }

const run = promisify(execFile)
const top = fileURLToPath(new URL('../../..', import.meta.url))

/** Folder with `root`, `initrd.cpio` and `vmlinuz`; made when it is not there (about 3 minutes). */
export async function arm64Folder(): Promise<string> {
  const cache = process.env['IOT_DEVICE_AGENT_CACHE'] ?? join(homedir(), '.cache', 'iot-device-agent')
  const folder = join(cache, 'arm64-with-tpm')
  await run(join(top, 'test/package/kit/make-arm64'), [folder])
  return folder
}

/** The package of this version, which scripts/test-package has built. */
export async function arm64Package(): Promise<string> {
  return join(top, 'build', 'packages', `iot-device-agent_${about.version}_arm64.deb`)
}
