import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from '../../test/cloud/cloud.ts'
import { clients, programOf, sendingProgramOf } from './clients.ts'
import type { Client, Device, Surroundings, Way } from './clients.ts'
import type { Figure, Participant, Performance } from './figures.ts'
import { forgetCached, measureRest, measureRuntime, measureSending, measureStart } from './measure.ts'
import type { Start, Values } from './measure.ts'

type Collected = Partial<Record<Participant, Partial<Record<Figure, number[]>>>>

export interface RoundOptions {
  readonly cloud: Cloud
  readonly around: Surroundings
  readonly method: Performance['method']
  readonly folder: string
  readonly tell: (text: string) => void
}

/** In this order: the agent has a cached assignment only after its first start. */
const ways = ['dps', 'cached', 'cachedCaFile'] as const satisfies readonly Way[]

/**
 * All rounds. Each measures everybody, and another one begins each time, so that whatever the machine does beside this
 * meets all alike.
 */
export async function runRounds(options: RoundOptions): Promise<Collected> {
  const collected: Collected = {}
  const keep = (who: Participant, values: Values) => {
    options.tell(
      `  ${who.padEnd(7)} ${Object.entries(values)
        .map(([name, value]) => `${name} ${value.toFixed(1)}`)
        .join('  ')}`,
    )
    const series = (collected[who] ??= {})
    for (const [name, value] of Object.entries(values)) (series[name as Figure] ??= []).push(value)
  }
  for (let round = 0; round < options.method.rounds; round += 1) {
    options.tell(`round ${round + 1} of ${options.method.rounds}`)
    await runRound(options, round, keep)
  }
  return collected
}

async function runRound(
  { cloud, around, method, folder }: RoundOptions,
  round: number,
  keep: (who: Participant, values: Values) => void,
): Promise<void> {
  const turn = round % clients.length
  const order = [...clients.slice(turn), ...clients.slice(0, turn)]
  const devices = new Map<Client, Device>()
  for (const client of order) devices.set(client, await makeDevice(cloud, folder, `${client}-${round + 1}`))
  const each = [...devices]

  for (const way of ways) {
    for (const [client, device] of each) {
      const program = programOf(client, way, device, around)
      if (program !== undefined) keep(client, startValues(way, await measureStart(cloud, device.deviceId, program)))
    }
  }
  const body = bodyOf(method.bodyBytes)
  for (const [client, device] of each) {
    const load = { body, seconds: method.sendingSeconds }
    keep(client, await measureSending(sendingProgramOf(client, device, around, load)))
  }
  for (const file of [around.node, around.python, join(around.root, 'build/lib/node')]) await forgetCached(file)
  keep('runtime', await measureRuntime(around.node))
  // All at once: they do next to nothing, and none shares a program file with another.
  const rests = each.map(async ([client, device]) => {
    const program = programOf(client, 'cached', device, around) ?? programOf(client, 'dps', device, around)
    if (program === undefined) throw new Error(`${client} has no way to its hub`)
    return [client, await measureRest(cloud, device.deviceId, program, method.quietSeconds)] as const
  })
  for (const [client, values] of await Promise.all(rests)) keep(client, values)
}

function startValues(way: Way, { tookMs, cpuMs }: Start): Values {
  switch (way) {
    case 'dps':
      return { startDpsMs: tookMs, startDpsCpuMs: cpuMs }
    case 'cached':
      return { startCachedMs: tookMs, startCachedCpuMs: cpuMs }
    case 'cachedCaFile':
      return { startCachedCaFileMs: tookMs, startCachedCaFileCpuMs: cpuMs }
  }
}

async function makeDevice(cloud: Cloud, folder: string, deviceId: string): Promise<Device> {
  const credential = await cloud.authority.makeDevice(deviceId)
  const home = join(folder, deviceId)
  await mkdir(join(home, 'run'), { recursive: true, mode: 0o700 })
  return { ...credential, deviceId, folder: home }
}

/** JSON of exactly so many bytes. */
function bodyOf(bytes: number): string {
  const empty = JSON.stringify({ temperature: 22.5, humidity: 45, note: '' })
  return empty.replace('""', `"${'x'.repeat(bytes - empty.length)}"`)
}
