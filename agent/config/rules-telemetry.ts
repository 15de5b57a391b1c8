import { isReserved, longestRunSeconds } from './command-source.ts'
import { placesOf } from './entries.ts'
import { problemAt } from './judge.ts'
import type { Rule } from './judge.ts'

const LIST = 'telemetry.command'

const streamIsFree: Rule = (values, found) =>
  placesOf(LIST, values.keys())
    .flatMap((place) => [`${place}.name`, `${place}.stream`])
    .flatMap((key) => {
      const stream = values.get(key)
      if (typeof stream !== 'string' || !isReserved(stream)) return []
      const remedy = 'Choose another one, for example what the program measures.'
      return [problemAt(found, key, { problem: 'The agent keeps the stream of this name for itself.', remedy })]
    })

const runIsShorter: Rule = (values, found) =>
  placesOf(LIST, values.keys()).flatMap((place) => {
    const [timeout, interval] = [`${place}.timeoutSeconds`, `${place}.intervalSeconds`].map((key) => values.get(key))
    if (typeof timeout !== 'number' || typeof interval !== 'number') return []
    const most = longestRunSeconds(interval)
    if (timeout <= most) return []
    return [
      problemAt(found, `${place}.timeoutSeconds`, {
        problem: `A run may take longer than the ${interval} seconds from one to the next (intervalSeconds).`,
        remedy: `Write at most ${most}, remove it, or raise intervalSeconds above ${timeout}.`,
      }),
    ]
  })

/** What holds between the keys of each `[[telemetry.command]]`. */
export const telemetryRules: readonly Rule[] = [streamIsFree, runIsShorter]
