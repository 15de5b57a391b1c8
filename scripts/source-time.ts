import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** So far may the clock of whoever made the last commit be ahead of ours. */
const AHEAD_MS = 24 * 3_600_000

/**
 * When a source tree was last changed, in wall time: SOURCE_DATE_EPOCH, or else the time of its last commit; undefined
 * without either. Never the time of the build, so that the same source gives the same bytes.
 * Source: reproducible-builds.org, "SOURCE_DATE_EPOCH".
 *
 * @throws Error when it is no number, or lies in the future: no device with such a program would believe its clock
 */
export async function sourceTimeMs(
  root: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number | undefined> {
  const said = environment['SOURCE_DATE_EPOCH'] ?? (await lastCommit(root))
  if (said === undefined) return undefined
  if (!/^\d{1,12}$/.test(said)) throw new Error(`SOURCE_DATE_EPOCH is not a number of seconds: ${said}`)
  const ms = Number(said) * 1000
  if (ms > Date.now() + AHEAD_MS) throw new Error(`the source is from the future: ${new Date(ms).toISOString()}`)
  return ms
}

/** Seconds since 1970; undefined where there is no git or the tree is not in it. */
async function lastCommit(root: string): Promise<string | undefined> {
  try {
    const { stdout } = await run('git', ['-C', root, 'log', '-1', '--format=%ct'])
    return stdout.trim()
  } catch (error) {
    console.error(`the last commit cannot be told, so the program will not know when it was made: ${String(error)}`)
    return undefined
  }
}
