/** When to ask a server for its time. Instants are of the uptime clock, in milliseconds; `chance` is uniform in [0, 1). */
export interface MeasurePlan {
  readonly lastMs: number | undefined
  /** Taken only while the system does not call the clock synchronised. */
  readonly routineMs: number
  /** Taken whatever the system says: something looked as if the clock were wrong. */
  readonly suspectMs: number | undefined
}

const ROUTINE_MS = 3_600_000

/** Between two measurements, whoever asks for them. */
const LEAST_APART_MS = 10 * 60_000

/** What makes one device doubt its clock may make a whole fleet doubt: they are spread over this time. */
const SPREAD_MS = 30_000

export function firstPlan(nowMs: number, chance: number): MeasurePlan {
  return { lastMs: undefined, routineMs: nowMs + chance * SPREAD_MS, suspectMs: undefined }
}

/** A measurement is over, whatever came of it. */
export function afterMeasurement(nowMs: number, chance: number): MeasurePlan {
  return { lastMs: nowMs, routineMs: nowMs + stretched(ROUTINE_MS, chance), suspectMs: undefined }
}

/** Somebody saw what a wrong clock would explain. */
export function afterSuspicion(plan: MeasurePlan, nowMs: number, chance: number): MeasurePlan {
  return { ...plan, suspectMs: plan.suspectMs ?? soon(plan, nowMs, chance) }
}

/** The clock was set, or the machine slept: what is routine comes sooner. */
export function afterMovement(plan: MeasurePlan, nowMs: number, chance: number): MeasurePlan {
  return { ...plan, routineMs: Math.min(plan.routineMs, soon(plan, nowMs, chance)) }
}

/** When the next one is due; in the past when it is due now. */
export function dueMs(plan: MeasurePlan, synchronised: boolean): number {
  const suspectMs = plan.suspectMs ?? Number.POSITIVE_INFINITY
  return synchronised ? suspectMs : Math.min(suspectMs, plan.routineMs)
}

function soon(plan: MeasurePlan, nowMs: number, chance: number): number {
  const allowedMs = plan.lastMs === undefined ? nowMs : plan.lastMs + stretched(LEAST_APART_MS, chance)
  return Math.max(nowMs + chance * SPREAD_MS, allowedMs)
}

/** Up to a quarter longer, never shorter. */
function stretched(intervalMs: number, chance: number): number {
  return intervalMs * (1 + chance / 4)
}
