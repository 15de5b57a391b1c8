import { showNumber } from './statistics.ts'

/** What `scripts/soak --record` leaves in docs/soak.json. */
export interface Soak {
  readonly takenOn: string
  readonly minutes: number
  /** By kind. */
  readonly flaps: Readonly<Record<string, number>>
  readonly reconnections: number
  readonly messages: number
  readonly accepted: number
  readonly lost: number
  readonly duplicates: number
  readonly outOfOrder: number
  readonly mostDescriptors: number
  /** Every five minutes: minutes since the start, and MB. */
  readonly course: readonly { readonly minute: number; readonly rssMb: number; readonly anonymousMb: number }[]
}

/** The part of docs/performance.md about an hour in which the link flaps. */
export function soakSection(soak: Soak): string {
  const flaps = Object.values(soak.flaps).reduce((sum, each) => sum + each, 0)
  const rows = soak.course.map(
    ({ minute, rssMb, anonymousMb }) => `| ${minute} | ${showNumber(rssMb, 3)} | ${showNumber(anonymousMb, 3)} |`,
  )
  return `## While the link flaps

Taken on ${soak.takenOn} by \`scripts/soak --record\`: ${soak.minutes} minutes, in which the link was cut, died without a sign, was refused or led nowhere
${flaps} times, with a sample a second from the device and one from a local program. ${soak.reconnections} reconnections, ${soak.messages} messages, ${soak.accepted} samples
accepted at the socket: ${soak.lost} lost, ${soak.duplicates} came twice, ${soak.outOfOrder} out of order. At most ${soak.mostDescriptors} open descriptors.

| minute | RSS, MB | private, anonymous, MB |
|---|---|---|
${rows.join('\n')}

What grows at first is the heap of the runtime: it compiles what is used, and collects late; the number of objects stays.
`
}
