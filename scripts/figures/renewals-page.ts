import { markdownTable } from '../pages/markdown.ts'
import { busiest, DAY_MS, HOUR_MS, simulateFleet } from './renewals.ts'
import type { FleetPlan, Waves } from './renewals.ts'
import { showNumber } from './statistics.ts'

/** The default policy of the agent, over about a year. */
export const usual: FleetPlan = {
  ...{ devices: 10_000, lifetimeDays: 90, generations: 5 },
  policy: { enabled: true, fraction: 0.7, spread: 0.1, floorMs: HOUR_MS },
}

/** Days in one line of the chart, and renewals for one sign of it. */
const DAYS_A_LINE = 6
const RENEWALS_A_SIGN = 100

/** The generated part of docs/renewal.md. */
export function renewalsSection(): string {
  const waves = simulateFleet(usual)
  const together = simulateFleet({ ...usual, policy: { ...usual.policy, spread: 0 } })
  const outage = { fromDay: 62, toDay: 65 }
  const after = simulateFleet({ ...usual, outage })
  return `${usual.devices.toLocaleString('en-US')} devices get certificates of ${usual.lifetimeDays} days within one hour. Computed by the rule of the agent, with its defaults:

${markdownTable(
  ['renewal', 'first to last day', 'busiest hour', 'busiest minute', 'without a spread: busiest hour'],
  waves.map((times, index) => [
    `${index + 1}.`,
    `${dayOf(Math.min(...times))} to ${dayOf(Math.max(...times))}`,
    partOf(busiest(times, HOUR_MS)),
    String(busiest(times, 60_000)),
    partOf(busiest(together[index] ?? [], HOUR_MS)),
  ]),
)}

Each line is ${DAYS_A_LINE} days, each sign ${RENEWALS_A_SIGN} renewals:

\`\`\`
${chart(waves)}
\`\`\`

When whoever issues is away from day ${outage.fromDay} to day ${outage.toDay}, nothing is lost: the devices wait with what they have, and those that waited,
${countIn(after, outage.toDay).toLocaleString('en-US')} of them, get their certificates within the first quarter of an hour of day ${outage.toDay}. The second renewal is spread as before: its busiest
hour has ${partOf(busiest(after[1] ?? [], HOUR_MS))}.`
}

function chart(waves: Waves): string {
  const times = waves.flat()
  const lines = Math.ceil(Math.max(...times) / DAY_MS / DAYS_A_LINE)
  return Array.from({ length: lines }, (_, line) => {
    const [from, to] = [line * DAYS_A_LINE * DAY_MS, (line + 1) * DAYS_A_LINE * DAY_MS]
    const count = times.filter((atMs) => atMs >= from && atMs < to).length
    return `day ${String(line * DAYS_A_LINE).padStart(3)}  ${'#'.repeat(Math.ceil(count / RENEWALS_A_SIGN))}`.trimEnd()
  }).join('\n')
}

function countIn(waves: Waves, day: number): number {
  return waves.flat().filter((atMs) => atMs >= day * DAY_MS && atMs < day * DAY_MS + HOUR_MS / 4).length
}

function dayOf(ms: number): string {
  return String(Math.floor(ms / DAY_MS))
}

function partOf(count: number): string {
  return `${count.toLocaleString('en-US')} (${showNumber((100 * count) / usual.devices, 2)} %)`
}
