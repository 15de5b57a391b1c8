import { present } from './reading.ts'
import type { Tree } from './tree.ts'

export interface Wear {
  readonly storageWearPercent?: Readonly<Record<string, number>>
  readonly storagePreEndOfLife?: Readonly<Record<string, number>>
}

const BLOCKS = 'sys/block'
const PLATFORM = 'sys/bus/platform/devices'

/** Memories of one message at most. */
const MAX_MEMORIES = 8

/** 0x01 is 0 to 10 % of the expected life used, 0x0A is 90 to 100 %, 0x0B is beyond it; 0 says nothing. */
const BEYOND_LIFE = 0x0b

/** 1 normal, 2: 80 % of the reserved blocks are used, 3: 90 %; 0 says nothing. */
const URGENT = 3

interface Health {
  readonly name: string
  /** Estimates of the life that is used, by kind of cells. */
  readonly life: readonly (number | undefined)[]
  readonly preEndOfLife: number | undefined
}

/**
 * Reads how worn the flash memories are that tell it without special rights: eMMC and UFS, whose registers mean the
 * same. SD cards, SATA and NVMe show nothing of it in sysfs.
 * Source: JEDEC JESD84-B51, 7.4.69 to 7.4.71; kernel, drivers/mmc/core/mmc.c (`0x%02x 0x%02x`) and
 * Documentation/ABI/testing/sysfs-driver-ufs.
 */
export async function readWear(tree: Tree): Promise<Wear> {
  const all = [...(await readCards(tree)), ...(await readUfs(tree))].slice(0, MAX_MEMORIES)
  const worn = all.filter((one) => worst(one) > 0).map((one) => [one.name, worst(one) * 10] as const)
  const spent = all.flatMap(({ name, preEndOfLife }) => {
    const state = inRange(preEndOfLife, URGENT)
    return state === undefined ? [] : [[name, state] as const]
  })
  return present({
    storageWearPercent: worn.length > 0 ? Object.fromEntries(worn) : undefined,
    storagePreEndOfLife: spent.length > 0 ? Object.fromEntries(spent) : undefined,
  })
}

/** The higher of the estimates; 0 when there is none. */
function worst({ life }: Health): number {
  return Math.max(...life.map((part) => inRange(part, BEYOND_LIFE) ?? 0))
}

async function readCards(tree: Tree): Promise<readonly Health[]> {
  const found: Health[] = []
  for (const name of (await tree.list(BLOCKS)).filter((block) => /^mmcblk\d+$/.test(block))) {
    const life = ((await tree.read(`${BLOCKS}/${name}/device/life_time`)) ?? '').split(/\s+/).map(readHex)
    found.push({ name, life, preEndOfLife: readHex(await tree.read(`${BLOCKS}/${name}/device/pre_eol_info`)) })
  }
  return found
}

async function readUfs(tree: Tree): Promise<readonly Health[]> {
  const found: Health[] = []
  for (const name of (await tree.list(PLATFORM)).filter((device) => /ufs/i.test(device))) {
    const read = async (file: string) => readHex(await tree.read(`${PLATFORM}/${name}/health_descriptor/${file}`))
    const life = [await read('life_time_estimation_a'), await read('life_time_estimation_b')]
    found.push({ name, life, preEndOfLife: await read('eol_info') })
  }
  return found
}

function readHex(text: string | undefined): number | undefined {
  return text !== undefined && /^0x[0-9a-f]{1,2}$/i.test(text) ? Number(text) : undefined
}

function inRange(value: number | undefined, most: number): number | undefined {
  return value !== undefined && value >= 1 && value <= most ? value : undefined
}
