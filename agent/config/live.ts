import { deriveConfig } from './paths.ts'
import type { Config } from './paths.ts'
import type { Settings } from './schema.ts'

/** The configuration in force. Whoever reads `config` when it needs a value gets the one of that moment. */
export interface LiveConfig {
  readonly config: Config
  /** Puts all of them in force at once. */
  replace(settings: Settings): void
}

export function createLiveConfig(first: Config): LiveConfig {
  let inForce = first
  const section = (name: keyof Config) => ({ enumerable: true, get: () => inForce[name] })
  const names = Object.keys(first) as readonly (keyof Config)[]
  return {
    config: Object.create({}, Object.fromEntries(names.map((name) => [name, section(name)]))) as Config,
    replace(settings) {
      inForce = deriveConfig(settings)
    },
  }
}
