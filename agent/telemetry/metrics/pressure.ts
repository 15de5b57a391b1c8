import { present } from './reading.ts'
import { readDecimal } from './tree.ts'
import type { Tree } from './tree.ts'

export interface Pressure {
  readonly cpuPressurePercent?: number
  readonly memoryPressurePercent?: number
  readonly memoryPressureFullPercent?: number
  readonly ioPressurePercent?: number
  readonly ioPressureFullPercent?: number
}

/**
 * Reads how much of the last minute tasks have waited. `full` of the processor is left out: for a whole machine the
 * kernel has no such time. A kernel that was started with psi=0 answers EOPNOTSUPP and is without.
 * Source: kernel, Documentation/accounting/psi.rst.
 */
export async function readPressure(tree: Tree): Promise<Pressure> {
  const cpu = await tree.read('proc/pressure/cpu')
  const memory = await tree.read('proc/pressure/memory')
  const io = await tree.read('proc/pressure/io')
  return present({
    cpuPressurePercent: parseStall(cpu, 'some'),
    memoryPressurePercent: parseStall(memory, 'some'),
    memoryPressureFullPercent: parseStall(memory, 'full'),
    ioPressurePercent: parseStall(io, 'some'),
    ioPressureFullPercent: parseStall(io, 'full'),
  })
}

/** Percentage of the last 60 s of one line, as in `some avg10=0.47 avg60=0.83 avg300=0.59 total=4811462601`. */
export function parseStall(text: string | undefined, line: 'some' | 'full'): number | undefined {
  return readDecimal(new RegExp(`^${line} .*\\bavg60=(\\S+)`, 'm').exec(text ?? '')?.[1])
}
