/** Debian root file systems as folders, made once and kept in the cache. A booted machine lays its own layer over one. */
import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const top = fileURLToPath(new URL('../../..', import.meta.url))

/** Debian 12 and 13: what the package is made for. */
export const suites = ['bookworm', 'trixie'] as const
/** Forky, which becomes Debian 14, has Node 24 and is there for the package without a runtime; jammy is Ubuntu 22.04. */
export type Suite = (typeof suites)[number] | 'forky' | 'jammy'

/** Where Ubuntu's packages come from; not every builder lets anybody there. */
const UBUNTU = 'http://archive.ubuntu.com/ubuntu/dists/jammy/Release'

/** Debian's, and Ubuntu 22.04 with the oldest systemd that the unit is made for (249), where its archive is within reach. */
export async function suitesWithinReach(): Promise<readonly Suite[]> {
  const answer = await fetch(UBUNTU, { method: 'HEAD', signal: AbortSignal.timeout(10_000) }).catch(() => undefined)
  return answer?.ok === true ? [...suites, 'jammy'] : suites
}

/** What is in a root beside the rest. */
const more: Readonly<Partial<Record<Suite, string>>> = { forky: 'nodejs' }

/** Debian's name for the processor of this machine. */
export const nativeArch = process.arch === 'arm64' ? 'arm64' : 'amd64'

/** Unpacks under a temporary name, so that an interrupted run leaves no half root; two that want the same one make it once. */
const UNPACK = `set -eu
exec 9>"$2.lock"
flock 9
if [ ! -d "$2" ]; then
  rm -rf "$2.part"
  mkdir "$2.part"
  tar -C "$2.part" --numeric-owner -xpf "$1"
  mv "$2.part" "$2"
fi`

/** The root of a suite with all that the package depends on; about half a minute when it is not in the cache. Not to be written to. */
export async function rootFolder(suite: Suite): Promise<string> {
  return unpacked(suite, more[suite])
}

/** The same with more packages of Debian in it, names joined by commas. */
export async function rootWith(suite: Suite, packages: string): Promise<{ readonly root: string }> {
  // A comma would part the options of the mount.
  return { root: await unpacked(suite, packages, packages.replaceAll(',', '+')) }
}

async function unpacked(suite: Suite, packages: string | undefined, name = 'booted'): Promise<string> {
  const tar = (await run(join(top, 'scripts/root'), [suite, nativeArch, ...[packages ?? []].flat()])).stdout.trim()
  const folder = join(dirname(tar), `${suite}-${nativeArch}-${name}`)
  await run('sh', ['-c', UNPACK, 'unpack', tar, folder])
  return folder
}
