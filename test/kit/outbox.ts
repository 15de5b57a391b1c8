/** Outboxes of both kinds, and samples for them. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Failure } from '../../agent/failure.ts'
import { openMemoryOutbox, openOutbox } from '../../agent/telemetry/outbox/open.ts'
import type { OutboxOptions } from '../../agent/telemetry/outbox/open.ts'
import type { DropCause, Outbox, OutboxLimits, Parcel } from '../../agent/telemetry/outbox/port.ts'
import { PLAIN_LABEL } from '../../agent/telemetry/sample.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'
import { createFakeClock } from './clock.ts'
import type { FakeClock } from './clock.ts'

export interface OutboxFolder extends AsyncDisposable {
  readonly path: string
  /** The files as they are now, as they would be found after the agent was killed. */
  copy(): Promise<string>
}

export async function outboxFolder(): Promise<OutboxFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'outbox-'))
  const path = join(folder, 'outbox.db')
  let copies = 0
  return {
    path,
    async copy() {
      copies += 1
      const copied = join(folder, `copy-${copies}.db`)
      await copyFile(path, copied)
      await copyFile(`${path}-wal`, `${copied}-wal`)
      return copied
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

export interface Heard {
  readonly clock: FakeClock
  readonly options: OutboxOptions
  readonly failures: Failure[]
  readonly dropped: (readonly [number, DropCause])[]
}

const ROOMY: OutboxLimits = { maxBytes: 1e9, maxAgeMs: 30 * 86_400_000, batchSamples: 1, batchMs: 5000 }

/** Options with a clock that stands still, and what the outbox says. */
export function outboxOptions(limits: Partial<OutboxLimits> = {}, others: Partial<OutboxOptions> = {}): Heard {
  const clock = createFakeClock()
  const failures: Failure[] = []
  const dropped: (readonly [number, DropCause])[] = []
  const options: OutboxOptions = {
    clock,
    limits: { ...ROOMY, ...limits },
    onFailure: (failure) => void failures.push(failure),
    onDropped: (count, cause) => void dropped.push([count, cause]),
    random: () => 0.5,
    ...others,
  }
  return { clock, options, failures, dropped }
}

/** An outbox of one kind, and how it is made to keep samples at once. */
export interface Opened extends AsyncDisposable, Heard {
  readonly outbox: Outbox
  keep(...samples: readonly Sample[]): Promise<void>
  /** Lets what was acknowledged or set aside be written. */
  settle(): Promise<void>
}

export type OpenKind = (limits?: Partial<OutboxLimits>, others?: Partial<OutboxOptions>) => Promise<Opened>

export const kinds: Readonly<Record<'disk' | 'memory', OpenKind>> = {
  async disk(limits, others) {
    const folder = await outboxFolder()
    const heard = outboxOptions(limits, others)
    const outbox = await openOutbox(folder.path, heard.options)
    return {
      ...heard,
      outbox,
      keep: (...samples) => outbox.append(samples, 'written'),
      settle: () => heard.clock.advance(2000),
      async [Symbol.asyncDispose]() {
        await outbox[Symbol.asyncDispose]()
        await folder[Symbol.asyncDispose]()
      },
    }
  },
  async memory(limits, others) {
    const heard = outboxOptions(limits, others)
    const outbox = await openMemoryOutbox(new Failure('STATE_UNWRITABLE', 'no disk'), heard.options)
    return {
      ...heard,
      outbox,
      async keep(...samples) {
        await outbox.append(samples, 'relaxed')
        await heard.clock.advance(1000)
      },
      settle: () => heard.clock.advance(2000),
      [Symbol.asyncDispose]: () => outbox[Symbol.asyncDispose](),
    }
  },
}

export function sample(id: string, others: Partial<Sample> = {}): Sample {
  return { id, stream: 's', priority: 'telemetry', createdAtMs: 1000, label: PLAIN_LABEL, body: '{}', ...others }
}

/** What would be sent of every stream, without anything being acknowledged. */
export function parcelsOf(outbox: Outbox, name = 's'): readonly Parcel[] {
  const parcels: Parcel[] = []
  for (const stream of outbox.streams()) {
    if (stream.name !== name) continue
    for (let after = 0; ; after = parcels.at(-1)?.last ?? 0) {
      const parcel = outbox.next(stream.key, after)
      if (parcel === undefined) break
      parcels.push(parcel)
    }
  }
  return parcels
}

/** IDs by message. */
export function idsOf(outbox: Outbox, name = 's'): readonly (readonly string[])[] {
  return parcelsOf(outbox, name).map(({ samples }) => samples.map(({ id }) => id))
}
