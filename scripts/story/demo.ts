/**
 * The demo: `node scripts/story/demo.ts [--story NAME] [--messages N] [--json]`.
 *
 * The cloud is the stand-in, in this process; the agent is the built program, as a process of its own. What is claimed at
 * the end is computed from what the stand-in recorded and from what is on disk. Exit 0 only if all of it held, 2 when the
 * command line is not understood.
 */
import { parseArgs } from 'node:util'
import { tellFirst } from './first.ts'
import { tellOffline } from './offline.ts'
import { tellRenewal } from './renewal.ts'
import { tellTransition } from './transition.ts'
import { beginTelling } from './words.ts'
import type { Telling, Told } from './words.ts'

interface Story {
  readonly about: string
  /** Options of this story alone. */
  readonly takes: readonly string[]
  tell(telling: Telling, options: Options): Promise<Told>
}

interface Options {
  readonly story?: string | undefined
  readonly messages?: string | undefined
  readonly json?: boolean | undefined
}

const stories: Readonly<Record<string, Story>> = {
  first: {
    about: 'a key that stays, a certificate, DPS, telemetry, and what is refused; the story when none is named',
    takes: ['messages'],
    tell: (telling, { messages = '5' }) => tellFirst(telling, Number(messages)),
  },
  offline: {
    about: 'a night without the hub: 10,000 samples of a local program, the agent killed, its disk filled',
    takes: [],
    tell: (telling) => tellOffline(telling),
  },
  renewal: {
    about: 'certificates over the hub, from DPS and from an EST server; three renewals, and one that is refused',
    takes: [],
    tell: (telling) => tellRenewal(telling),
  },
  transition: {
    about: 'SAS to X.509 by twin, a bad authority, X.509 revoked and restored, SAS retired',
    takes: [],
    tell: (telling) => tellTransition(telling),
  },
}

const read = readCommandLine(process.argv.slice(2))
if (typeof read === 'string') {
  console.error(`demo: ${read}\n\n${usage()}`)
  process.exitCode = 2
} else {
  const result = await read.story.tell(beginTelling(), read.options)
  if (read.options.json === true) console.log(JSON.stringify(result))
  process.exitCode = result.ok ? 0 : 1
}

/** The story and its options; a sentence when the command line is not understood. */
function readCommandLine(args: readonly string[]): { readonly story: Story; readonly options: Options } | string {
  const options = parse(args)
  if (typeof options === 'string') return options
  const name = options.story ?? 'first'
  const story = Object.hasOwn(stories, name) ? stories[name] : undefined
  if (story === undefined) return `no story is called ${name}`
  const { messages } = options
  if (messages !== undefined && !story.takes.includes('messages')) return `the story ${name} takes no --messages`
  if (messages !== undefined && !/^[1-9]\d{0,5}$/.test(messages))
    return `--messages is a whole number from 1, not ${messages}`
  return { story, options }
}

function parse(args: readonly string[]): Options | string {
  try {
    return parseArgs({
      args: [...args],
      options: { story: { type: 'string' }, messages: { type: 'string' }, json: { type: 'boolean' } },
    }).values
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
}

function usage(): string {
  const lines = Object.entries(stories).map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`)
  return ['usage: demo [--story NAME] [--messages N] [--json]', 'stories:', ...lines].join('\n')
}
