import { gzipSync } from 'node:zlib'
import type { Config } from './config/paths.ts'
import type { Facts } from './facts.ts'
import { asFailure } from './failure.ts'
import type { Failure } from './failure.ts'
import type { Clock } from './system/clock.ts'
import type { Log } from './system/log.ts'
import { createDeviceSource } from './telemetry/device-source.ts'
import { createForwarder } from './telemetry/forward/forward.ts'
import type { Forwarder } from './telemetry/forward/port.ts'
import { createPeerUid } from './telemetry/intake/peer-uid.ts'
import { openIntake } from './telemetry/intake/server.ts'
import { buildMessage } from './telemetry/message.ts'
import { createMetricsReader } from './telemetry/metrics/read.ts'
import { openOutboxOrMemory } from './telemetry/outbox/open.ts'
import type { Outbox, OutboxLimits, Parcel } from './telemetry/outbox/port.ts'
import type { Sample } from './telemetry/sample.ts'
import { createSchedule } from './telemetry/schedule.ts'
import type { Schedule } from './telemetry/schedule.ts'
import { createCommandSource } from './telemetry/sources/command.ts'
import type { CommandSource } from './telemetry/sources/command.ts'
import { createRoster } from './telemetry/sources/roster.ts'
import { createStamp, readBootId } from './telemetry/stamp.ts'
import type { Stamping } from './telemetry/stamp.ts'
import { systemUptimeMs } from './time/uptime.ts'

export interface FlowOptions {
  readonly config: Config
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly log: Log
  readonly facts: Facts
}

/** Where samples come from, where they wait, and how they leave. */
export interface Flow extends AsyncDisposable {
  readonly outbox: Outbox
  readonly forwarder: Forwarder
  /** Of the device's own measurements. */
  readonly schedule: Schedule
  /** Measures the device and sends that past the outbox, for somebody who needs a message to be acknowledged now. */
  readonly sendOne: () => void
  /** Opens the door for local programs. */
  openDoor(): Promise<void>
  /** Follows a configuration that has changed: what measures, and how long a message waits for company. */
  takeUp(): void
  /** Everything that measures, each until `signal` aborts. */
  measure(signal: AbortSignal): readonly Promise<unknown>[]
}

/** Messages on their way at a time: fills a link of 200 ms round trip with 100 messages/s, what one unit of IoT Hub takes. */
const WINDOW = 20

const MEGABYTE = 1024 * 1024
const DAY_MS = 24 * 3_600_000

/** Joins sources, outbox and forwarder to this device. */
export async function openFlow(options: FlowOptions): Promise<Flow> {
  const { config, clock, facts } = options
  await using opened = new AsyncDisposableStack()
  const trust = () => facts.clock().trust
  const stamping = createStamp({ clock, trust, uptimeMs: systemUptimeMs, bootId: await readBootId() })
  const outbox = opened.use(await openOutbox(options))
  const onFailure = (failure: Failure) => options.log.failure(failure, { event: 'a sample could not be taken' })
  const measureDevice = createMeasurement(options, stamping)
  const append = appendOurs(outbox)
  const keep = (sample: Sample) => append([sample], config.telemetry.durability)
  const forwarder = openForwarder(options, { outbox, stamping, askForWitness: () => sendOne() })
  const sendOne = () => {
    measureDevice().then(
      (sample) => forwarder.sendBeside(sample),
      (error: unknown) => onFailure(asFailure(error)),
    )
  }
  facts.forwarding = () => forwarder.facts()
  const schedule = createSchedule({
    ...{ clock, onFailure, intervalMs: config.telemetry.intervalSeconds * 1000 },
    take: async () => keep(await measureDevice()),
  })
  const environment = process.env
  const device = createRoster<Pick<Schedule, 'run'>>()
  const commands = createRoster<CommandSource>()
  const assign = () => {
    const { telemetry } = config
    device.assign(telemetry.device ? [{ name: 'device', identity: 'device', create: () => schedule }] : [])
    commands.assign(
      telemetry.command.map((command) => ({
        name: command.name,
        identity: JSON.stringify(command),
        create: () => createCommandSource({ command, clock, append, stamp: stamping.stamp, onFailure, environment }),
      })),
    )
  }
  assign()
  facts.sources = () => commands.members().map((command) => command.facts())
  const parts = opened.move()
  return {
    ...{ outbox, forwarder, schedule, sendOne },
    async openDoor() {
      if (config.telemetry.socket.enabled) parts.use(await openDoor(options, outbox, stamping))
    },
    takeUp() {
      assign()
      // Whoever waits for a batch has reckoned with the time that it had before.
      outbox.arrived.ring()
    },
    measure: (signal) => [device.run(signal), commands.run(signal)],
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function openOutbox({ config, clock, log, facts }: FlowOptions): Promise<Outbox> {
  const limits: OutboxLimits = {
    get maxBytes() {
      return config.telemetry.outbox.maxMegabytes * MEGABYTE
    },
    get maxAgeMs() {
      return config.telemetry.outbox.maxDays * DAY_MS
    },
    get batchSamples() {
      return config.telemetry.batchSamples
    },
    get batchMs() {
      return config.telemetry.batchSeconds * 1000
    },
  }
  return openOutboxOrMemory(config.paths.outboxFile, {
    ...{ clock, limits, trusted: () => facts.clock().trust === 'trusted' },
    onFailure(failure) {
      if (failure.code === 'OUTBOX_TORN') facts.outboxTornAtMs = clock.now()
      log.failure(failure, { event: 'the outbox' })
    },
    onReturn: () => log.info('samples are kept on disk again', { path: config.paths.outboxFile }),
    onDropped(count, cause) {
      facts.lastDroppedMs[cause] = clock.now()
      log.debug('samples were given up', { count, cause })
    },
  })
}

/** What the agent measures is worth sending without a promise, too. */
function appendOurs(outbox: Outbox): Outbox['append'] {
  return (samples, durability) => outbox.append(samples, outbox.level().place === 'memory' ? 'relaxed' : durability)
}

function createMeasurement({ config, clock, facts }: FlowOptions, { stamp }: Stamping): () => Promise<Sample> {
  return createDeviceSource({
    read: createMetricsReader({ stateFolder: config.paths.stateDir, clock }),
    stamp,
    identity: () => ({
      deviceId: facts.device?.deviceId ?? config.device.registrationId,
      authType: facts.authType ?? config.auth.born,
    }),
  })
}

interface ForwarderParts {
  readonly outbox: Outbox
  readonly stamping: Stamping
  readonly askForWitness: () => void
}

function openForwarder(
  { config, clock, random, log, facts }: FlowOptions,
  { outbox, stamping, askForWitness }: ForwarderParts,
): Forwarder {
  return createForwarder({
    ...{ outbox, clock, random, askForWitness },
    limits: {
      window: WINDOW,
      get drainPerSecond() {
        return config.telemetry.drain.messagesPerSecond
      },
      get drainJitterMs() {
        return config.telemetry.drain.jitterSeconds * 1000
      },
    },
    build(parcel) {
      const { compression } = config.telemetry
      return buildMessage(parcel, { boot: stamping.bootTime(), compression }, gzipSync)
    },
    onAcknowledged(parcel) {
      facts.acknowledged += parcel.samples.length
      facts.lastAcknowledgedAtMs = clock.now()
      log.debug('telemetry acknowledged', { messageId: idOf(parcel), acknowledged: facts.acknowledged })
    },
    onSetAside: (parcel, failure) =>
      log.failure(failure, { event: 'a message was set aside', messageId: idOf(parcel) }),
  })
}

async function openDoor(
  { config, clock, log, facts }: FlowOptions,
  outbox: Outbox,
  { stamp }: Stamping,
): Promise<AsyncDisposable> {
  const intake = await openIntake({
    ...{ path: config.paths.telemetrySocket, clock, stamp },
    append: (samples, durability) => outbox.append(samples, durability),
    get samplesPerSecond() {
      return config.telemetry.socket.samplesPerSecond
    },
    health: () => {
      const { state, sinceMs } = facts.connection
      return { ...outbox.level(), connected: state === 'connected', sinceMs }
    },
    identify: createPeerUid({ clock }),
    onFailure: (failure) => log.failure(failure, { event: 'telemetry socket' }),
  })
  facts.intake = () => intake.counts()
  return intake
}

function idOf({ samples: [first] }: Parcel): string {
  return first.id
}
