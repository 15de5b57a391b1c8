import { dirname, join } from 'node:path'
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { isAwaited } from './config/awaited.ts'
import { loadConfig } from './config/load.ts'
import { likelyControlSocket, likelyTelemetrySocket, providedPair } from './config/paths.ts'
import type { Config } from './config/paths.ts'
import { formatProblems } from './config/problems.ts'
import { exitCodes } from './commands/exit-codes.ts'
import type { CommandEnvironment, CredentialSettings } from './commands/credential-command.ts'
import type { AuthOrder } from './credential/rotation-ports.ts'
import type { SendOptions } from './commands/send.ts'
import { policyOf } from './policy.ts'
import { asFailure } from './failure.ts'
import { actAsOwner } from './system/act-as-owner.ts'
import { systemClock } from './system/clock.ts'
import { version } from './version.ts'

const print = (content: string | Uint8Array) => process.stdout.write(content)

const io: CommandEnvironment = {
  stdout: print,
  stderr: (text) => process.stderr.write(text),
  // Its first use opens a stream, which all but one command can do without.
  get stdin() {
    return process.stdin
  },
  clock: systemClock,
  actAsOwner,
}
const sources = { environment: process.env }

interface Given {
  readonly json?: true
  readonly doc?: true
  readonly out?: string
  readonly body?: string
  readonly rehearse?: true
  readonly wait?: true
}

const REHEARSE = ['--rehearse', 'say what would happen, and change nothing'] as const

const SEND_EXAMPLES = `
Examples:
  iot-device-agent send '{"temperature":21.5}'
  iot-device-agent send '{"door":"open"}' --stream door --severity error
  iot-device-agent send - < lines.ndjson`

type Action = (...given: never[]) => number | Promise<number>

/** Every command with its help; man page and completions are made from it. */
export const program = new Command('iot-device-agent')
  .description('Device identity and telemetry agent for Azure IoT.')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(iot-device-agent --help lists the commands)')
const config = program.command('config').description('look at the configuration')

add(program, 'run', 'run the agent; systemd does this', run)
add(program, 'status', 'is this device safe? connected with what, until when, and what is wrong', status).option(
  '--json',
)
add(program, 'outbox', 'what waits for the hub, what was given up, and what was set aside and why', outbox)
  .addOption(new Option('--body <id>', 'print one that was set aside, as it is').conflicts('json'))
  .option('--json')
add(program, 'auth', 'prove by key or certificate who this is; without proof all stays as it was', auth)
  .addArgument(new Argument('<sas|x509>', 'symmetric key or certificate').choices(['sas', 'x509']))
  .option(...REHEARSE)
  .addOption(new Option('--wait', 'stay until it has ended, at most 10 minutes').conflicts('rehearse'))
add(program, 'renew', 'make a new key and ask for a certificate for it', renew).option(...REHEARSE)
add(program, 'reprovision', 'register with DPS again, with the credential in use', reprovision).option(...REHEARSE)
add(
  program,
  'needs-renewal',
  'whether the certificate is to be renewed: exit code 0 yes, 1 not yet, 2 none',
  needsRenewal,
).option('--json')
add(program, 'csr', 'print the certificate request; the key is made here and stays here', csr).option('--out <file>')
add(program, 'install-certificate <file>', 'check and install the chain made of the request; - is stdin', install)
add(program, 'send <json>', 'hand in a sample for the cloud; - reads JSON, or lines of it, from stdin', send)
  .option('--stream <name>', 'order is kept within a stream (local)')
  .addOption(new Option('--severity <level>').choices(['debug', 'info', 'warning', 'error', 'critical']))
  .addOption(new Option('--priority <what>').choices(['telemetry', 'alarm', 'audit']))
  .option('--component <name>', 'component of the DTDL model')
  .option('--property <name=value>', 'for message routing; may be given several times', collect)
  .addOption(new Option('--durability <when>', 'what to wait for (synced)').choices(['synced', 'written', 'relaxed']))
  .option('--json', 'answer in JSON')
  .addHelpText('after', SEND_EXAMPLES)
add(program, 'reload', 'take up a changed configuration without a restart; systemctl reload does this', reload)
add(
  program,
  'accept-machine',
  'go on with keys and state that were made on another board, when that was replaced',
  acceptMachine,
)
add(program, 'seal', 'take what makes this device itself out of a system that is to be copied', seal)
  .option('--check', 'change nothing; print each finding on a line of its own')
  .option('--root <folder>', 'the system that is meant (/)')
  .option('--yes', 'seal the very system that runs this')
add(program, 'import', 'take over from the Python client; without --apply it only shows what it would do', importClient)
  .addOption(new Option('--dry-run', 'only show it, as without any option').conflicts(['apply', 'undo']))
  .addOption(new Option('--apply', 'do it; what does not connect goes back by itself').conflicts('undo'))
  .option('--undo', 'go back to the old client')
  .option('--force', 'with --undo: whatever way the device is connected by now')
  .option('--unit <name>', 'which service, when several look like the client')
  .option('--keep-key', 'leave the key that came along until its first renewal')
  .addOption(new Option('--wait <seconds>', 'time for the new agent to connect').argParser(waitSeconds).default(120))
  .option('--json')
add(program, 'version', 'version of the agent and of its runtime', showVersion)
add(config, 'check', 'every problem of the configuration with its remedy', configCheck)
add(config, 'list', 'every key with value and origin; --doc: what it means', configList)
  .option('--doc')
  .option('--json')
add(config, 'show-origin', 'where each value comes from and what it overrides', configShowOrigin)

/** One command: its words, its help, and what it does; the number that comes back is the exit code. */
function add(parent: Command, words: string, help: string, action: Action): Command {
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
  return exitCodes.configurationInvalid
}

function credentialSettings(config: Config): CredentialSettings {
  const { device, auth, paths } = config
  const { stateDir, requestsDir, issuedDir } = paths
  const { registrationId } = device
  const { keyType, keyStore, token, pkcs11Engine, pinFile, encryptionKeyFile } = auth.x509
  const pair = providedPair(config)
  return {
    ...{ stateDir, requestsDir, issuedDir, registrationId, pair },
    ...{ keyType, keyStore, token, pkcs11Engine, pinFile, encryptionKeyFile },
  }
}

/** Commander has printed its own message; anything else is printed here. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage
  const failure = asFailure(error)
  io.stderr(`${failure.code}: ${failure.message}\n  ${failure.advice}\n`)
  return exitCodes.failed
}

// Each command is loaded when it is called: a start of the agent does not pay for the others.

async function run(): Promise<number> {
  const { runAgent } = await import('./agent.ts')
  // What did not end in time, as the making of a large key, must not hold the process.
  process.exit(await runAgent(sources))
}

/** Works without a configuration as well: the agent that runs has one, and a broken file must not hide how it is. */
function controlSocket(): string {
  const loaded = loadConfig(sources)
  if (loaded.ok) return loaded.value.paths.controlSocket
  const socket = likelyControlSocket(process.env)
  if (!isAwaited(loaded.problems))
    io.stderr(`The configuration as seen from here is invalid (config check); asking at ${socket}.\n`)
  return socket
}

async function status({ json }: Given): Promise<number> {
  const { runStatus } = await import('./commands/status.ts')
  return runStatus(io, { socket: controlSocket(), clock: systemClock, json: json === true })
}

async function outbox({ json, body }: Given): Promise<number> {
  const { runOutbox } = await import('./commands/outbox.ts')
  const options = { socket: controlSocket(), clock: systemClock, json: json === true, body }
  return runOutbox({ stdout: print, stderr: io.stderr }, options)
}

async function order(order: AuthOrder['order'], { rehearse, wait }: Given): Promise<number> {
  const { runOrder } = await import('./commands/order.ts')
  const options = { order, rehearse: rehearse === true, wait: wait === true }
  return runOrder(io, { socket: controlSocket(), clock: systemClock, ...options })
}

function auth(mode: 'sas' | 'x509', given: Given): Promise<number> {
  return order(mode, given)
}

function renew(given: Given): Promise<number> {
  return order('renew', given)
}

function reprovision(given: Given): Promise<number> {
  return order('reprovision', given)
}

function needsRenewal({ json }: Given): Promise<number> {
  return configured(async (config) => {
    const { runNeedsRenewal } = await import('./commands/needs-renewal.ts')
    const { renewal } = policyOf(config)
    return runNeedsRenewal({ ...credentialSettings(config), renewal, json: json === true }, io)
  })
}

function csr({ out }: Given): Promise<number> {
  return configured(async (settings) => {
    const { runCsr } = await import('./commands/csr.ts')
    return runCsr({ ...credentialSettings(settings), out }, io)
  })
}

function install(file: string): Promise<number> {
  return configured(async (settings) => {
    const { runInstallCertificate } = await import('./commands/install-certificate.ts')
    return runInstallCertificate({ ...credentialSettings(settings), file }, io)
  })
}

async function configCheck(): Promise<number> {
  const { runConfigCheck } = await import('./commands/config.ts')
  return runConfigCheck(io, sources)
}

async function configList({ doc, json }: Given): Promise<number> {
  const { runConfigList } = await import('./commands/config.ts')
  return runConfigList(io, sources, { doc: doc === true, json: json === true })
}

async function configShowOrigin(): Promise<number> {
  const { runConfigShowOrigin } = await import('./commands/config.ts')
  return runConfigShowOrigin(io, sources)
}

/** Needs no more of the configuration than the runtime folder. */
async function send(sample: string, given: Omit<SendOptions, 'socket' | 'sample'>): Promise<number> {
  const { runSend } = await import('./commands/send.ts')
  const loaded = loadConfig(sources)
  const socket = loaded.ok ? loaded.value.paths.telemetrySocket : likelyTelemetrySocket(process.env)
  const exitCode = await runSend(io, { ...given, sample, socket })
  // What is refused in its middle is not read to its end, and must not be waited for.
  if (sample === '-') process.stdin.destroy()
  return exitCode
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

async function reload(): Promise<number> {
  const { runReload } = await import('./commands/reload.ts')
  return runReload(io, { socket: controlSocket(), clock: systemClock })
}

function acceptMachine(): Promise<number> {
  return configured(async ({ paths }) => {
    const { runAcceptMachine } = await import('./commands/accept-machine.ts')
    return runAcceptMachine(io, { stateDir: paths.stateDir, clock: systemClock })
  })
}

async function seal({ check, root, yes }: { readonly check?: true; readonly root?: string; readonly yes?: true }) {
  const { runSeal } = await import('./commands/seal.ts')
  const program = dirname(process.argv[1] ?? '')
  // Of the package, and of the sources.
  const places = [join(program, '../seal'), join(program, '../packaging/seal.sh')]
  return runSeal(io, places, { check: check === true, root, yes: yes === true })
}

interface ImportGiven {
  readonly apply?: true
  readonly undo?: true
  readonly force?: true
  readonly keepKey?: true
  readonly json?: true
  readonly unit?: string
  readonly wait: number
}

async function importClient({ apply, undo, force, keepKey, json, unit, wait }: ImportGiven): Promise<number> {
  const { isRoot, runImport } = await import('./commands/import.ts')
  const { createRunningAgent } = await import('./takeover/prove.ts')
  const { createSystemctl } = await import('./takeover/systemctl.ts')
  const loaded = loadConfig(sources)
  const socket = loaded.ok ? loaded.value.paths.controlSocket : likelyControlSocket(process.env)
  const agent = createRunningAgent(socket, systemClock)
  const flags = { apply: apply === true, undo: undo === true, force: force === true }
  const options = { ...flags, keepKey: keepKey === true, json: json === true, unit }
  const parts = { root: '/', systemctl: createSystemctl(), agent, clock: systemClock, waitMs: wait * 1000 }
  return runImport(io, options, { ...parts, isRoot: isRoot() })
}

function waitSeconds(text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) > 0) return Number(text)
  throw new InvalidArgumentError('It takes 1 to 9999 seconds.')
}

function showVersion(): number {
  io.stdout(`iot-device-agent ${version} (node ${process.versions.node}, ${process.platform} ${process.arch})\n`)
  return exitCodes.fine
}
