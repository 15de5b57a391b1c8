import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Output } from './config.ts'
import { exitCodes } from './exit-codes.ts'

export interface SealOptions {
  readonly check: boolean
  readonly root: string | undefined
  readonly yes: boolean
}

/**
 * `seal`: runs the script that takes the identity of one device out of a system. It needs no runtime, and the launcher
 * of the package starts it without one; this is for every other way to call the program.
 *
 * @param places where the script may lie; the first one that is there is run
 * @returns the script's own exit code: 0 nothing of one device is left, 1 something is, 2 not understood
 */
export async function runSeal(io: Output, places: readonly string[], options: SealOptions): Promise<number> {
  const script = places.find((place) => existsSync(place))
  if (script === undefined) {
    io.stderr(`The script that seals is not beside the program: ${places.join(' or ')} should be it.\n`)
    return exitCodes.failed
  }
  const child = spawn('/bin/sh', [script, ...argumentsOf(options)], { stdio: 'inherit' })
  const [code] = (await once(child, 'close')) as [number | null]
  return code ?? exitCodes.failed
}

function argumentsOf({ check, root, yes }: SealOptions): readonly string[] {
  return [...(check ? ['--check'] : []), ...(root === undefined ? [] : ['--root', root]), ...(yes ? ['--yes'] : [])]
}
