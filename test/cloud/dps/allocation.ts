/** Which hub a device gets, and what its twin begins with there. */
import { createHash } from 'node:crypto'
import type { InitialTwin } from '../model.ts'
import { ServiceError } from '../model.ts'
import { showEnrollment } from './enrollment-form.ts'
import type { Enrollment } from './enrollments.ts'

/** What a custom allocation is told, in the words of the webhook. */
export interface AllocationRequest {
  readonly enrollmentGroup?: Readonly<Record<string, unknown>>
  readonly individualEnrollment?: Readonly<Record<string, unknown>>
  readonly deviceRuntimeContext: {
    readonly registrationId: string
    readonly payload?: unknown
    readonly x509?: Readonly<Record<string, unknown>>
    readonly symmetricKey?: Readonly<Record<string, unknown>>
  }
  readonly linkedHubs: readonly string[]
}

export interface AllocationAnswer {
  readonly iotHubHostName: string
  readonly initialTwin?: InitialTwin
  /** Goes back to the device. */
  readonly payload?: unknown
}

/** The function in place of the webhook. What it throws refuses the registration. */
export type CustomAllocation = (request: AllocationRequest) => AllocationAnswer | Promise<AllocationAnswer>

export interface Allocation {
  readonly hub: string
  readonly initialTwin: InitialTwin | undefined
  readonly payload: unknown
}

/** @throws ServiceError 400000 when the custom allocation refuses or names a hub that is not linked */
export async function allocate(
  enrollment: Enrollment,
  context: AllocationRequest['deviceRuntimeContext'],
  linkedHubs: readonly string[],
  custom: CustomAllocation | undefined,
): Promise<Allocation> {
  const candidates = enrollment.iotHubs.length === 0 ? linkedHubs : enrollment.iotHubs
  if (enrollment.allocationPolicy === 'custom') {
    const answer = await askCustom(enrollment, context, candidates, custom)
    if (!candidates.includes(answer.iotHubHostName))
      throw new ServiceError(400000, `Custom allocation named ${answer.iotHubHostName}, which is not linked.`)
    return { hub: answer.iotHubHostName, initialTwin: answer.initialTwin, payload: answer.payload }
  }
  const first = candidates[0]
  if (first === undefined) throw new ServiceError(400000, 'No IoT hub is linked to this provisioning service.')
  const hub = enrollment.allocationPolicy === 'static' ? first : (candidates[hash(context, candidates)] ?? first)
  return { hub, initialTwin: undefined, payload: undefined }
}

async function askCustom(
  enrollment: Enrollment,
  deviceRuntimeContext: AllocationRequest['deviceRuntimeContext'],
  linkedHubs: readonly string[],
  custom: CustomAllocation | undefined,
): Promise<AllocationAnswer> {
  if (custom === undefined) throw new ServiceError(400000, 'Custom allocation failed with status code: NotFound.')
  const shown = showEnrollment(enrollment)
  const owner = enrollment.kind === 'group' ? { enrollmentGroup: shown } : { individualEnrollment: shown }
  try {
    return await custom({ ...owner, deviceRuntimeContext, linkedHubs })
  } catch (cause) {
    throw new ServiceError(
      400000,
      `Custom allocation failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    )
  }
}

/** The same device gets the same hub as long as the list of hubs stays the same. */
function hash(context: AllocationRequest['deviceRuntimeContext'], hubs: readonly string[]): number {
  return createHash('sha256').update(context.registrationId.toLowerCase()).digest().readUInt32BE() % hubs.length
}
