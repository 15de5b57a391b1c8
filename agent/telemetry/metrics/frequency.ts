import { present } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

export interface Frequency {
  readonly cpuFrequencyMHz?: number
  readonly cpuFrequencyLimitMHz?: number
  readonly cpuFrequencyMaxMHz?: number
}

const FOLDER = 'sys/devices/system/cpu/cpufreq'

/** Policies that are compared: a chip has up to four kinds of cores, a server one policy for each of many cores. */
const MAX_POLICIES = 8

/**
 * Reads the clock of the fastest kind of cores, which the kernel has in kHz: what it is, what the kernel allows at
 * present (less than the maximum when it is too hot, or when an administrator says so), and the maximum.
 * Source: kernel, Documentation/admin-guide/pm/cpufreq.rst.
 */
export async function readFrequency(tree: Tree): Promise<Frequency> {
  const policies = (await tree.list(FOLDER)).filter((name) => /^policy\d+$/.test(name)).slice(0, MAX_POLICIES)
  const read = async (policy: string, file: string) => readInteger(await tree.read(`${FOLDER}/${policy}/${file}`))
  let fastest: { readonly policy: string; readonly kilohertz: number } | undefined
  for (const policy of policies) {
    const kilohertz = await read(policy, 'cpuinfo_max_freq')
    if (kilohertz !== undefined && kilohertz > (fastest?.kilohertz ?? 0)) fastest = { policy, kilohertz }
  }
  if (fastest === undefined) return {}
  return present({
    cpuFrequencyMHz: megahertz(await read(fastest.policy, 'scaling_cur_freq')),
    cpuFrequencyLimitMHz: megahertz(await read(fastest.policy, 'scaling_max_freq')),
    cpuFrequencyMaxMHz: megahertz(fastest.kilohertz),
  })
}

function megahertz(kilohertz: number | undefined): number | undefined {
  return kilohertz === undefined || kilohertz <= 0 ? undefined : Math.round(kilohertz / 1000)
}
