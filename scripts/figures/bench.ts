/** Measures everybody in one run and keeps the values in docs/performance.json. Run it as scripts/bench. */
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { promisify } from 'node:util'
import { startCloud } from '../../test/cloud/cloud.ts'
import { makeTemporaryFolder } from '../../test/kit/openssl.ts'
import type { Surroundings } from './clients.ts'
import { depths, FIGURES_FILE, groups } from './figures.ts'
import type { Group, Performance } from './figures.ts'
import { describeMachine, describeVersions } from './machine.ts'
import { figuresTable } from './page.ts'
import { runRounds } from './rounds.ts'
import type { RoundOptions } from './rounds.ts'
import { telemetryTables } from './telemetry-page.ts'

const root = new URL('../../', import.meta.url).pathname
const tell = (text: string) => process.stderr.write(`${text}\n`)

type Method = RoundOptions['method']

const full: Method = {
  ...{ rounds: 2, retryAfterSeconds: 1, pollsBeforeAssigned: 1 },
  ...{ quietSeconds: 60, sendingSeconds: 2, bodyBytes: 256 },
  telemetry: {
    ...{ rounds: 1, sampleBytes: 128, arraySamples: 100, batchSamples: 100 },
    ...{ intakeSeconds: 1.5, settlingSeconds: 6 },
    ...{ throughSingle: 20_000, throughBatched: 100_000, pacedSeconds: 10, waiting: 1_000_000 },
    ...{ outageSeconds: 20, outagePerSecond: 100, pythonRetrySeconds: 10 },
    ...{ depths, depthRounds: 30, depthBlock: 1000 },
  },
}

/** Shows that everything works; its values say little. */
const quick: Method = {
  ...{ ...full, rounds: 1, quietSeconds: 3, sendingSeconds: 0.3 },
  telemetry: {
    ...{
      ...full.telemetry,
      rounds: 1,
      intakeSeconds: 0.1,
      settlingSeconds: 0.3,
      throughSingle: 1000,
      throughBatched: 5000,
    },
    ...{ pacedSeconds: 1, waiting: 10_000, outageSeconds: 2, pythonRetrySeconds: 1 },
    ...{ depths: [1000, 10_000], depthRounds: 3, depthBlock: 100 },
  },
}

const options = process.argv.slice(2)
const named = options.filter((option) => option !== '--quick')
if (named.some((name) => !groups.some((group) => group === name))) {
  tell(`usage: scripts/bench [--quick] [FIGURES ...]\nfigures: ${groups.join(' ')}; all of them when none is named`)
  process.exitCode = 2
} else {
  await bench(options.includes('--quick') ? quick : full, new Set((named.length === 0 ? groups : named) as Group[]))
}

/** Only what was measured whole, and all of it in one run, is kept. */
async function bench(method: Method, wanted: ReadonlySet<Group>): Promise<void> {
  const python = process.env['CONFORMANCE_PYTHON']
  if (python === undefined) throw new Error('CONFORMANCE_PYTHON is not set: run scripts/bench')
  await using folder = await makeTemporaryFolder()
  const hubHosts = ['hub-1.azure-devices.net']
  const dpsHost = 'global.azure-devices-provisioning.net'
  await using cloud = await startCloud({ port: 8883, dpsHost, hubHosts })
  cloud.enrollFleet()
  cloud.faults.set('retryAfterSeconds', method.retryAfterSeconds)
  cloud.faults.set('pollsBeforeAssigned', method.pollsBeforeAssigned)
  const around = {
    ...{ root, python, dpsHost, caFile: cloud.caFile, hubHost: cloud.hubAddress(), idScope: cloud.idScope },
    agent: join(root, 'build/iot-device-agent'),
    ...(await prepare(folder.path, cloud.caFile)),
  }
  const series = await runRounds({ cloud, around, method, wanted, folder: folder.path, tell })
  const taken: Performance = {
    takenOn: new Date().toISOString().slice(0, 10),
    machine: describeMachine(),
    versions: describeVersions(root, python),
    method,
    series,
  }
  process.stdout.write(`${figuresTable(taken)}\n\n${telemetryTables(taken)}\n`)
  if (method === full && wanted.size === groups.length)
    await writeFile(join(root, FIGURES_FILE), `${JSON.stringify(taken, shorten, 2)}\n`)
}

/** What is made for this run only. */
async function prepare(
  folder: string,
  caFile: string,
): Promise<Pick<Surroundings, 'node' | 'agentSending' | 'outboxDepth' | 'rootsFile'>> {
  const node = join(folder, 'node')
  await copyFile(process.execPath, node)
  const rootsFile = join(folder, 'roots.pem')
  await writeFile(rootsFile, [...rootCertificates, await readFile(caFile, 'utf8')].join('\n'))
  const agentSending = await packAsAgent(folder, 'agent-sending')
  const outboxDepth = await packAsAgent(folder, 'outbox-depth')
  return { node, rootsFile, agentSending, outboxDepth }
}

/** A program of peers/, bundled, and launched by the launcher of the agent. */
async function packAsAgent(folder: string, name: string): Promise<string> {
  const lib = join(folder, name, 'lib')
  await mkdir(lib, { recursive: true })
  await symlink(join(root, 'build/lib/node'), join(lib, 'node'))
  const bundle = [join(lib, 'iot-device-agent.cjs'), `scripts/figures/peers/${name}.ts`]
  await promisify(execFile)(process.execPath, [join(root, 'scripts/bundle.ts'), ...bundle])
  const program = join(folder, name, name)
  await copyFile(join(root, 'build/iot-device-agent'), program)
  await chmod(program, 0o755)
  return program
}

/** Four significant digits are more than any of this repeats to. */
function shorten(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}
