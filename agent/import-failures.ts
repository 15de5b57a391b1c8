import type { FailureEntry } from './failure-table.ts'

/** Every way in which taking over from an older client, or going back to it, can fail. */
export const importFailures = {
  IMPORT_NOTHING_FOUND: {
    kind: 'invalid',
    meaning: 'No service on this machine looks like the Python client with settings that can be taken over.',
    advice:
      'Name its unit if there is one: iot-device-agent import --unit NAME. Without one, write /etc/iot-device-agent/config.toml by hand.',
  },
  IMPORT_SEVERAL_FOUND: {
    kind: 'invalid',
    meaning: 'More than one service looks like the Python client.',
    advice: 'Choose one of those that the message names: iot-device-agent import --unit NAME',
  },
  IMPORT_NOT_POSSIBLE: {
    kind: 'invalid',
    meaning: 'What was found cannot be taken over as it is; nothing was changed.',
    advice: 'Mend what the message names, then look again: sudo iot-device-agent import',
  },
  IMPORT_NEEDS_ROOT: {
    kind: 'refused',
    meaning: 'Taking over stops and starts services and copies a key that only its owner can read.',
    advice: 'The same command with sudo before it.',
  },
  IMPORT_SYSTEMCTL: {
    kind: 'refused',
    meaning: 'systemd did not do what it was asked to do.',
    advice: 'See what it says: systemctl status iot-device-agent; journalctl -n 50. Then the same command again.',
  },
  IMPORT_NOT_PROVEN: {
    kind: 'refused',
    meaning:
      'The new agent did not connect and have a message acknowledged in time. The old client was put back and runs again.',
    advice: 'Mend what the message names, then again: sudo iot-device-agent import --apply [--wait SECONDS]',
  },
  IMPORT_NOTHING_TO_UNDO: {
    kind: 'invalid',
    meaning: 'There is no record of a takeover on this machine.',
    advice: 'Nothing: no older client was taken over from, or that was undone already.',
  },
  IMPORT_UNDO_BLOCKED: {
    kind: 'refused',
    meaning: 'Going back would leave the device without a way to connect, or overwrite what is somebody else’s.',
    advice: 'Do what the message names first; --force goes back all the same, where a file is not in the way.',
  },
  IMPORT_OLD_NOT_ACTIVE: {
    kind: 'refused',
    meaning: 'Everything is as it was before the takeover, and the service of the old client does not come up.',
    advice:
      'See why: systemctl status NAME with the name of its unit. To try again: sudo iot-device-agent import --undo',
  },
  IMPORT_RECORD_UNREADABLE: {
    kind: 'refused',
    meaning: 'The record of a takeover cannot be understood, so that nothing is done by it.',
    advice:
      'Look at /var/lib/iot-device-agent.import: it holds the files of the old unit, which belong to where record.json says.',
  },
} as const satisfies Record<string, FailureEntry>
