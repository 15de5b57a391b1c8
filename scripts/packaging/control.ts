/** The control file of a package. Source: Debian Policy, chapters 5 and 7. */
import { maintainer } from './about.ts'
import type { PackageAbout } from './about.ts'

/**
 * What the packaged files need. The versions are those that the runtime asks its libraries for (`readelf -V`); the sysusers program is
 * systemd's own or one of those that stand in for it.
 */
const ALWAYS = [
  'ca-certificates',
  'init-system-helpers (>= 1.54~)',
  'systemd | systemd-standalone-sysusers | systemd-sysusers',
]
const RUNTIME = ['libc6 (>= 2.28)', 'libgcc-s1 (>= 3.0) | libgcc1', 'libstdc++6 (>= 8)']
const SYSTEM_NODE = ['nodejs (>= 24)']

const DESCRIPTION = `device identity and telemetry agent for Azure IoT
 Makes the private key and certificate request of a device on the device,
 provisions it through Azure DPS with X.509, sends telemetry to IoT Hub over
 MQTT, and keeps it connected: what is refused or interrupted is rolled back.
 While a fleet moves from SAS to X.509 it speaks both.`

const WITH_RUNTIME = ` .
 This package holds the Node.js runtime that the agent runs on.`

const WITHOUT_RUNTIME = ` .
 This package uses the Node.js of the system, in version 24 or newer.`

/** @param installedBytes content of the package, without its folders */
export function controlOf(about: PackageAbout, installedBytes: number): string {
  const depends = [...(about.withRuntime ? RUNTIME : SYSTEM_NODE), ...ALWAYS].toSorted()
  const fields: readonly (readonly [string, string])[] = [
    ['Package', about.name],
    ['Version', about.version],
    ['Architecture', about.arch],
    ['Maintainer', maintainer],
    ['Installed-Size', String(Math.ceil(installedBytes / 1024))],
    ['Depends', depends.join(', ')],
    ...relations(about),
    ['Section', 'net'],
    ['Priority', 'optional'],
    ['Description', DESCRIPTION + '\n' + (about.withRuntime ? WITH_RUNTIME : WITHOUT_RUNTIME)],
  ]
  return fields.map(([name, value]) => `${name}: ${value}\n`).join('')
}

/** Both packages have the same files: one takes the place of the other. */
function relations({ withRuntime }: PackageAbout): readonly (readonly [string, string])[] {
  const other = withRuntime ? 'iot-device-agent-system-node' : 'iot-device-agent'
  const provides = withRuntime ? [] : [['Provides', 'iot-device-agent'] as const]
  return [...provides, ['Conflicts', other], ['Replaces', other]]
}
