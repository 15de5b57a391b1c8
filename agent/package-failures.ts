import type { FailureEntry } from './failure-table.ts'

/** Every way to fail that comes from how the agent was installed: its configuration, its machine. */
export const packageFailures = {
  CONFIG_INVALID: {
    kind: 'invalid',
    meaning: 'The configuration has problems; all of them are listed.',
    advice: 'Mend each key as its line says, then: systemctl restart iot-device-agent',
  },
  CONFIG_AWAITED: {
    kind: 'transient',
    meaning: 'No configuration names this device yet. The agent waits for one, and looks every few seconds.',
    advice:
      'Write /etc/iot-device-agent/config.toml: the commented one is /usr/share/doc/iot-device-agent/config.example.toml. Then see: iot-device-agent status',
  },
  MACHINE_CHANGED: {
    kind: 'refused',
    meaning:
      'The keys and state were made on another machine. Two devices with one identity would push each other off the hub, so this one stays off.',
    advice:
      'A copied card or image: sudo iot-device-agent seal, then give the device its own name. The board was replaced, and the old one is out of use: sudo iot-device-agent accept-machine',
  },
} as const satisfies Record<string, FailureEntry>
