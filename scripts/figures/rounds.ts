import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cloud } from '../../test/cloud/cloud.ts'
import { clients, programOf, sendingProgramOf } from './clients.ts'
import type { Client, Device, Surroundings, Way } from './clients.ts'
import type { Figure, Group, Participant, Performance, TelemetryMethod } from './figures.ts'
import { forgetCached, measureRest, measureRuntime, measureSending, measureStart } from './measure.ts'
import type { Start, Values } from './measure.ts'
import { measureDepth } from './telemetry/depth.ts'
import { measureIntake } from './telemetry/intake.ts'
import { measureOutage } from './telemetry/outage.ts'
import { measurePaced } from './telemetry/paced.ts'
import { startTapped } from './telemetry/tapped.ts'
import { measureThrough } from './telemetry/through.ts'
import { measureWaiting } from './telemetry/waiting.ts'

type Collected = Partial<Record<Participant, Partial<Record<Figure, number[]>>>>

type Keep = (who: Participant, values: Values) => void

export interface RoundOptions {
  readonly cloud: Cloud
  readonly around: Surroundings
  readonly method: Performance['method'] & { readonly telemetry: TelemetryMethod }
  /** What is measured. */
  readonly wanted: ReadonlySet<Group>
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
  const { method, wanted, tell } = options
  const collected: Collected = {}
  const keep: Keep = (who, values) => {
    const shown = Object.entries(values).map(([name, value]) => `${name} ${value.toFixed(1)}`)
    tell(`  ${who.padEnd(7)} ${shown.join('  ')}`)
    const series = (collected[who] ??= {})
    for (const [name, value] of Object.entries(values)) (series[name as Figure] ??= []).push(value)
  }
  const wantsClients = wanted.has('start') || wanted.has('sending') || wanted.has('rest')
  for (let round = 0; wantsClients && round < method.rounds; round += 1) {
    tell(`round ${round + 1} of ${method.rounds}`)
    await runRound(options, round, keep)
  }
  for (let round = 0; round < method.telemetry.rounds; round += 1) {
    tell(`telemetry: round ${round + 1} of ${method.telemetry.rounds}`)
    await runTelemetryRound(options, round, keep)
  }
  return collected
}

async function runRound(
  { cloud, around, method, wanted, folder }: RoundOptions,
  round: number,
  keep: Keep,
): Promise<void> {
  const turn = round % clients.length
  const order = [...clients.slice(turn), ...clients.slice(0, turn)]
  const devices = new Map<Client, Device>()
  for (const client of order) devices.set(client, await makeDevice(cloud, folder, `${client}-${round + 1}`))
  const each = [...devices]

  // Without the first of them no hub knows the device.
  for (const way of wanted.has('start') ? ways : ways.slice(0, 1)) {
    for (const [client, device] of each) {
      const program = programOf(client, way, device, around)
      if (program === undefined) continue
      const start = await measureStart(cloud, device.deviceId, program)
      if (wanted.has('start')) keep(client, startValues(way, start))
    }
  }
  const load = { body: bodyOf(method.bodyBytes), seconds: method.sendingSeconds }
  for (const [client, device] of wanted.has('sending') ? each : [])
    keep(client, await measureSending(sendingProgramOf(client, device, around, load)))
  if (!wanted.has('rest')) return
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

async function runTelemetryRound(
  { cloud, around, method, wanted, folder }: RoundOptions,
  round: number,
  keep: Keep,
): Promise<void> {
  const device = await makeDevice(cloud, folder, `telemetry-${round + 1}`)
  const bench = { cloud, around, method: method.telemetry, device }
  // Its hub is known to it from here on.
  await (await startTapped(bench, 1, 'there'))[Symbol.asyncDispose]()
  const measures = { intake: measureIntake, through: measureThrough, paced: measurePaced, waiting: measureWaiting }
  for (const [group, measure] of Object.entries(measures))
    if (wanted.has(group as Group)) keep('agent', await measure(bench))
  if (wanted.has('outage')) {
    const { agent, python } = await measureOutage(bench, await makeDevice(cloud, folder, `python-outage-${round + 1}`))
    keep('agent', agent)
    keep('python', python)
  }
  // Has rounds of its own.
  if (round === 0 && wanted.has('depth')) for (const values of await measureDepth(bench)) keep('agent', values)
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
