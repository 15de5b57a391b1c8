import type { FailureEntry } from './failure-table.ts'

/** The part of the failure table that is about samples on their way from a program to the hub. */
export const telemetryFailures = {
  TELEMETRY_INVALID: {
    kind: 'invalid',
    meaning: 'A sample that was handed in is not one that can be sent.',
    advice: `Mend what the message names. A sample is JSON, as in: iot-device-agent send '{"temperature":21.5}'`,
  },
  TELEMETRY_TOO_LARGE: {
    kind: 'invalid',
    meaning: 'A sample or a request is larger than the hub, or the agent, takes at a time.',
    advice: 'Send less in one sample; many samples go as lines of NDJSON, which are read as they come.',
  },
  TELEMETRY_QUOTA: {
    kind: 'transient',
    meaning: 'A user of this machine hands in more samples than one may.',
    advice: 'Wait as long as Retry-After says, then hand it in again. The limit is telemetry.socket.samplesPerSecond.',
  },
  TELEMETRY_FORBIDDEN: {
    kind: 'refused',
    meaning: 'A user of this machine hands in what only root and the user of the agent may: samples of priority audit.',
    advice: 'Hand it in with another priority, alarm for instance, or as root.',
  },
  TELEMETRY_UNAVAILABLE: {
    kind: 'transient',
    meaning: 'The socket for local programs cannot be made or does not answer.',
    advice:
      'See why: journalctl -u iot-device-agent | grep TELEMETRY_UNAVAILABLE, and: ls -l /run/iot-device-agent/telemetry.sock',
  },
  SOURCE_FAILED: {
    kind: 'transient',
    meaning: 'A program that is run for its measurements failed, hung, or printed something else.',
    advice:
      'Run it by hand as the user of the agent: sudo -u iot-device-agent PROGRAM. Its output must be JSON. It is run again at its next time.',
  },
  OUTBOX_FULL: {
    kind: 'transient',
    meaning: 'The outbox has reached its limit with samples that are worth more than this one.',
    advice:
      'Bring the device back to its hub (iot-device-agent status), or raise telemetry.outbox.maxMegabytes, then: systemctl restart iot-device-agent',
  },
  SAMPLE_UNKNOWN: {
    kind: 'invalid',
    meaning: 'No sample that was set aside has this ID; the newest 100 are kept, and no more than 1 MiB of them.',
    advice: 'See which there are: iot-device-agent outbox',
  },
  OUTBOX_BUSY: {
    kind: 'transient',
    meaning: 'More samples wait to be stored than the disk can take, or a damaged outbox is being mended.',
    advice: 'Hand it in again a second later.',
  },
  OUTBOX_TORN: {
    kind: 'transient',
    meaning: 'The file of the outbox was damaged. It was set aside, and what could be read of it was kept.',
    advice: 'Look for failing storage: journalctl -k. The file that was set aside may be deleted.',
  },
  OUTBOX_IN_MEMORY: {
    kind: 'broken',
    meaning: 'The outbox cannot be kept on disk: what is not sent is lost with the process.',
    advice: 'Check the state folder (ls -ld, df -h, mount) as the message says. The file is tried again every 30 s.',
  },
} as const satisfies Record<string, FailureEntry>
