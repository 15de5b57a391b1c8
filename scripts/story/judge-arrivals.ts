/** A sample as one of the two ends counts it. */
export interface Arrival {
  /** Message ID. */
  readonly id: string
  readonly stream: string
  /** Its number in its stream, from 1 on. */
  readonly n: number
}

/** What came of what was sent, both ends counted. */
export interface Arrivals {
  readonly sent: number
  /** Different samples in the cloud. */
  readonly received: number
  /** Sent and not received. */
  readonly missing: number
  /** Received and never sent, or with another content under its ID. */
  readonly foreign: number
  /** Arrivals beyond the first of each sample. */
  readonly duplicates: number
  /** First arrivals that came before one of a smaller number in their stream. */
  readonly outOfOrder: number
}

/** @param arrivals in the order in which they came */
export function judgeArrivals(sent: readonly Arrival[], arrivals: readonly Arrival[]): Arrivals {
  const expected = new Map(sent.map((one) => [one.id, one]))
  const first = new Map<string, Arrival>()
  for (const one of arrivals) if (!first.has(one.id)) first.set(one.id, one)
  const newest = new Map<string, number>()
  let outOfOrder = 0
  for (const { stream, n } of first.values()) {
    if (n < (newest.get(stream) ?? 0)) outOfOrder += 1
    newest.set(stream, Math.max(n, newest.get(stream) ?? 0))
  }
  const isForeign = ({ id, stream, n }: Arrival) => expected.get(id)?.stream !== stream || expected.get(id)?.n !== n
  return {
    sent: expected.size,
    received: [...first.keys()].filter((id) => expected.has(id)).length,
    missing: [...expected.keys()].filter((id) => !first.has(id)).length,
    foreign: arrivals.filter(isForeign).length,
    duplicates: arrivals.length - first.size,
    outOfOrder,
  }
}
