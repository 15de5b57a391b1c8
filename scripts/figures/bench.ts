/** Measures everybody in one run and keeps the values in docs/performance.json. Run it as scripts/bench. */
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { promisify } from 'node:util'
import { startCloud } from '../../test/cloud/cloud.ts'
import { makeTemporaryFolder } from '../../test/kit/openssl.ts'
import type { Surroundings } from './clients.ts'
import { FIGURES_FILE } from './figures.ts'
import type { Performance } from './figures.ts'
import { describeMachine, describeVersions, sizesOf } from './machine.ts'
import { figuresTable } from './page.ts'
import { runRounds } from './rounds.ts'

const root = new URL('../../', import.meta.url).pathname
const tell = (text: string) => process.stderr.write(`${text}\n`)

const full = {
  ...{ rounds: 5, retryAfterSeconds: 1, pollsBeforeAssigned: 1 },
  ...{ quietSeconds: 60, sendingSeconds: 2, bodyBytes: 256 },
} as const satisfies Performance['method']

/** Shows that everything works; its values say little. */
const quick = { ...full, rounds: 1, quietSeconds: 5, sendingSeconds: 0.5 } as const satisfies Performance['method']

const options = process.argv.slice(2)
if (options.some((option) => option !== '--quick')) {
  tell('usage: scripts/bench [--quick]')
  process.exitCode = 2
} else {
  await bench(options.length === 0 ? full : quick)
}

async function bench(method: Performance['method']): Promise<void> {
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
  const series = await runRounds({ cloud, around, method, folder: folder.path, tell })
  const taken: Performance = {
    takenOn: new Date().toISOString().slice(0, 10),
    machine: describeMachine(),
    versions: describeVersions(root, python),
    method,
    sizes: sizesOf(join(root, 'build')),
    series,
  }
  process.stdout.write(`${figuresTable(taken)}\n`)
  if (method === full) await writeFile(join(root, FIGURES_FILE), `${JSON.stringify(taken, shorten, 2)}\n`)
}

/** What is made for this run only. */
async function prepare(
  folder: string,
  caFile: string,
): Promise<Pick<Surroundings, 'node' | 'agentSending' | 'rootsFile'>> {
  const node = join(folder, 'node')
  await copyFile(process.execPath, node)
  const rootsFile = join(folder, 'roots.pem')
  await writeFile(rootsFile, [...rootCertificates, await readFile(caFile, 'utf8')].join('\n'))

  const lib = join(folder, 'sending/lib')
  await mkdir(lib, { recursive: true })
  await symlink(join(root, 'build/lib/node'), join(lib, 'node'))
  const bundle = [join(lib, 'iot-device-agent.cjs'), 'scripts/figures/peers/agent-sending.ts']
  await promisify(execFile)(process.execPath, [join(root, 'scripts/bundle.ts'), ...bundle])
  const agentSending = join(folder, 'sending/agent')
  await copyFile(join(root, 'build/iot-device-agent'), agentSending)
  await chmod(agentSending, 0o755)
  return { node, rootsFile, agentSending }
}

/** Four significant digits are more than any of this repeats to. */
function shorten(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}
