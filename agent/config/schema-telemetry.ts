import { exactOptional, optional } from 'valibot'
import { list, setting, table } from './setting.ts'
import { commandLine, componentName, oneOf, sourceName, wholeNumber, yesOrNo } from './values.ts'

const durability = () => oneOf('synced', 'written', 'relaxed')

/** What the words of `durability` promise. */
const PROMISES =
  '"synced": a power cut; "written": the end of the agent, and a power cut 5 seconds later; "relaxed": the same, each a second later still.'

const outbox = table('Where samples wait for the hub: outbox.db in paths.stateDir.', {
  maxMegabytes: optional(
    setting(wholeNumber(1, 65_536), {
      description:
        'Room for samples that wait, in units of 1,048,576 bytes. Beyond it the oldest of the lowest priority are dropped and counted.',
      unit: 'megabytes',
      aliases: ['bufferSamples', 'buffer', 'bufferSize', 'queueSize', 'maxSize', 'maxBytes'],
    }),
    256,
  ),
  maxDays: optional(
    setting(wholeNumber(1, 3650), {
      description: 'Samples that have waited longer are dropped and counted.',
      unit: 'days',
      aliases: ['maxAge', 'maxAgeDays', 'retentionDays', 'timeToLive', 'ttl'],
    }),
    30,
  ),
})

const drain = table('How samples that have waited go out once the hub is back.', {
  messagesPerSecond: optional(
    setting(wholeNumber(0, 10_000), {
      description: 'Messages of the backlog in a second; new samples do not wait for them. 0 for no bound.',
      unit: 'messages per second',
      aliases: ['rate', 'maxRate', 'rateLimit'],
    }),
    50,
  ),
  jitterSeconds: optional(
    setting(wholeNumber(0, 86_400), {
      description:
        'Longest wait before a backlog begins to go out, by chance, so that the devices of a fleet do not all begin at once.',
      unit: 'seconds',
      aliases: ['jitter', 'delaySeconds'],
    }),
    30,
  ),
})

const socket = table('The door for programs on this device: telemetry.sock in paths.runtimeDir.', {
  enabled: optional(
    setting(yesOrNo(), {
      description: 'Whether there is a socket through which programs hand in samples.',
      aliases: ['enable'],
    }),
    true,
  ),
  samplesPerSecond: optional(
    setting(wholeNumber(0, 1_000_000), {
      description:
        'Samples that each user of this machine (by uid) may hand in. What goes beyond it is refused and can be handed in again. 0 for no bound.',
      unit: 'samples per second',
      aliases: ['quota', 'rate', 'maxRate', 'rateLimit'],
    }),
    1000,
  ),
})

/** Programs that may be run for their measurements. */
const MOST_COMMANDS = 32

const command = list(
  {
    description:
      `Programs that the agent runs for their measurements: what they print, as JSON, is sent. One [[telemetry.command]] each, at most ${MOST_COMMANDS}. ` +
      'An entry in a later file of config.d replaces the one of the same name, whole; any other is added.',
    by: 'name',
    most: MOST_COMMANDS,
    aliases: ['commands', 'program', 'programs', 'script', 'exec'],
  },
  {
    name: setting(sourceName(), {
      description:
        'What tells this entry from the others, and its stream where no other is written. Not "device", nor one that begins with "iotAgent".',
      example: 'battery',
      aliases: ['id'],
    }),
    program: setting(commandLine(), {
      description:
        'The program and its arguments, each as a text of its own; no shell comes between. It runs as the user of the agent. Arguments are readable by every user of this machine: a secret belongs into a file.',
      example: ['/usr/local/bin/battery', '--json'],
      aliases: ['command', 'argv', 'args', 'arguments', 'exec', 'path'],
      commandLine: true,
    }),
    intervalSeconds: optional(
      setting(wholeNumber(1, 86_400), {
        description: 'Time from one run to the next.',
        unit: 'seconds',
        aliases: ['interval', 'period'],
      }),
      60,
    ),
    timeoutSeconds: exactOptional(
      setting(wholeNumber(1, 600), {
        description:
          'Time that one run may take; then the program is ended. Below intervalSeconds, but where that is 1 it is 1 too.',
        unit: 'seconds',
        example: 10,
        otherwise: 'intervalSeconds less 1, at most 10',
        aliases: ['timeout', 'timeLimit'],
      }),
    ),
    stream: exactOptional(
      setting(sourceName(), {
        description:
          'The stream of its samples: order is kept within a stream. Not "device", nor one that begins with "iotAgent".',
        example: 'battery',
        otherwise: 'name',
      }),
    ),
    priority: optional(
      setting(oneOf('telemetry', 'alarm', 'audit'), {
        description: 'What makes room last: the oldest "telemetry" is dropped first, then "alarm", then "audit".',
        aliases: ['severity'],
      }),
      'telemetry',
    ),
    durability: optional(
      setting(durability(), { description: `What a sample survives once it is stored. ${PROMISES}` }),
      'written',
    ),
    component: exactOptional(
      setting(componentName(), {
        description: "Component of the device's DTDL model that its samples belong to.",
        example: 'battery',
        otherwise: 'no component',
      }),
    ),
  },
)

/** What is sent, and what happens to it on its way to the hub. */
export const telemetry = table('What this device sends.', {
  intervalSeconds: optional(
    setting(wholeNumber(1, 86_400), {
      description:
        'Time between two measurements of the device itself. The device twin may change it while the agent runs.',
      unit: 'seconds',
      environment: 'TELEMETRY_INTERVAL',
      aliases: ['interval', 'period'],
    }),
    60,
  ),
  device: optional(
    setting(yesOrNo(), {
      description: 'Whether the agent sends measurements of the device itself.',
      aliases: ['deviceMetrics', 'metrics'],
    }),
    true,
  ),
  durability: optional(
    setting(durability(), {
      description: `What a measurement of the device itself survives once it is stored. ${PROMISES}`,
    }),
    'written',
  ),
  batchSamples: optional(
    setting(wholeNumber(1, 1000), {
      description: 'Samples of one stream that may share a message. 1 for a message each.',
      unit: 'samples',
      aliases: ['batchSize', 'batch'],
    }),
    1,
  ),
  batchSeconds: optional(
    setting(wholeNumber(1, 3600), {
      description:
        'How long a message that has room left waits for more samples. Without meaning where batchSamples is 1.',
      unit: 'seconds',
      aliases: ['batchInterval', 'batchTimeout'],
    }),
    5,
  ),
  compression: optional(
    setting(oneOf('off', 'gzip'), {
      description:
        'Whether the bodies of messages are compressed. What is compressed cannot be looked into by message routing on the body.',
      aliases: ['compress'],
    }),
    'off',
  ),
  outbox,
  drain,
  socket,
  command,
})
