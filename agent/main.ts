import { Command, CommanderError } from 'commander'
import { loadConfig } from './config/load.ts'
import { providedPair } from './config/paths.ts'
import type { Config } from './config/paths.ts'
import { formatProblems } from './config/problems.ts'
import type { CommandEnvironment, CredentialSettings } from './commands/credential-command.ts'
import { asFailure } from './failure.ts'
import { actAsOwner } from './system/act-as-owner.ts'
import { systemClock } from './system/clock.ts'
import { version } from './version.ts'

/** Exit codes: 0 fine, 1 failed, 2 usage, 3 connected but not as wanted, 4 needs attention soon, 5 not running, 78 configuration. */
const EXIT_FAILED = 1
const EXIT_USAGE = 2
const EXIT_CONFIG = 78

const io: CommandEnvironment = {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  // Its first use opens a stream, which all but one command can do without.
  get stdin() {
    return process.stdin
  },
  clock: systemClock,
  actAsOwner,
}
const sources = { environment: process.env }

type Action = (...given: never[]) => number | Promise<number>

const program = new Command('iot-device-agent')
  .description('Device identity and telemetry agent for Azure IoT.')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(iot-device-agent --help lists the commands)')

add('run', 'run the agent; systemd does this', () => configured(runAgentProcess))
add(
  'status',
  'is this device safe? what is it connected with, until when, and what is wrong',
  (given: { json?: true }) =>
    configured(async (config) => {
      const { runStatus } = await import('./commands/status.ts')
      return runStatus(io, { socket: config.paths.controlSocket, clock: systemClock, json: given.json === true })
    }),
).option('--json', 'one JSON object')
add(
  'csr',
  'print the certificate request of this device; the key is made here and stays here',
  (given: { out?: string }) =>
    configured(async (config) => {
      const { runCsr } = await import('./commands/csr.ts')
      return runCsr({ ...credentialSettings(config), out: given.out }, io)
    }),
).option('--out <file>', 'write it there instead')
add(
  'install-certificate <file>',
  'check the chain that an authority made of the request, and install it; - is stdin',
  (file: string) =>
    configured(async (config) => {
      const { runInstallCertificate } = await import('./commands/install-certificate.ts')
      return runInstallCertificate({ ...credentialSettings(config), file }, io)
    }),
)
const config = program.command('config').description('look at the configuration')
add(
  'check',
  'every problem of the configuration with its remedy',
  async () => {
    const { runConfigCheck } = await import('./commands/config.ts')
    return runConfigCheck(io, sources)
  },
  config,
)
add(
  'list',
  'every key with its value and where it comes from',
  async (given: { doc?: true; json?: true }) => {
    const { runConfigList } = await import('./commands/config.ts')
    return runConfigList(io, sources, { doc: given.doc === true, json: given.json === true })
  },
  config,
)
  .option('--doc', 'what each key means')
  .option('--json', 'as JSON')
add(
  'show-origin',
  'where each value comes from and what it overrides',
  async () => {
    const { runConfigShowOrigin } = await import('./commands/config.ts')
    return runConfigShowOrigin(io, sources)
  },
  config,
)
add('version', 'version of the agent and of its runtime', () => {
  io.stdout(`iot-device-agent ${version} (node ${process.versions.node}, ${process.platform} ${process.arch})\n`)
  return 0
})

program.parseAsync().catch((error: unknown) => {
  process.exitCode = exitCodeOf(error)
})

/** One command: its words, its help, and what it does; the number that comes back is the exit code. */
function add(words: string, help: string, action: Action, parent: Command = program): Command {
  return parent
    .command(words)
    .description(help)
    .allowExcessArguments(false)
    .action(async (...given: unknown[]) => {
      process.exitCode = await action(...(given as never[]))
    })
}

/** Runs `action` with the configuration, or prints every problem of it. */
async function configured(action: (config: Config) => number | Promise<number>): Promise<number> {
  const loaded = loadConfig(sources)
  if (loaded.ok) return action(loaded.value)
  io.stderr(formatProblems(loaded.problems))
  return EXIT_CONFIG
}

/** Ends this process itself: what did not end in time, as the making of a large key, must not hold it. */
async function runAgentProcess(settings: Config): Promise<never> {
  const { runAgent } = await import('./agent.ts')
  process.exit(await runAgent(settings))
}

function credentialSettings(config: Config): CredentialSettings {
  const { device, auth, paths } = config
  const { stateDir, requestsDir, issuedDir } = paths
  const { registrationId } = device
  const pair = providedPair(config)
  return { stateDir, requestsDir, issuedDir, registrationId, keyType: auth.x509.keyType, pair }
}

/** Commander has printed its own message; anything else is printed here. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
  const failure = asFailure(error)
  io.stderr(`${failure.code}: ${failure.message}\n  ${failure.advice}\n`)
  return EXIT_FAILED
}
