/** Who answers for the packages. */
export const maintainer = 'iot-device-agent authors <authors@iot-device-agent.invalid>'

export type Arch = 'amd64' | 'arm64' | 'all'

export interface PackageAbout {
  readonly name: string
  readonly version: string
  readonly arch: Arch
  /** Whether the runtime is inside. */
  readonly withRuntime: boolean
  /** Wall time of the last change of the source. */
  readonly sourceTimeMs: number
}

/** The package with the runtime is the usual one; the other is for systems that bring Node themselves. */
export function packageName(arch: Arch): string {
  return arch === 'all' ? 'iot-device-agent-system-node' : 'iot-device-agent'
}
