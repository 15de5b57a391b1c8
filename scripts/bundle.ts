/**
 * Bundles a program into one CommonJS file: `node scripts/bundle.ts OUT [ENTRY] [--packages FILE]`. The same input gives
 * the same bytes. FILE gets the folders below node_modules that something was taken from, as a list in JSON.
 */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { sourceTimeMs } from './source-time.ts'
import { slim } from './slim.ts'

const AGENT = 'agent/main.ts'
const { values, positionals } = parseArgs({ options: { packages: { type: 'string' } }, allowPositionals: true })
const [outfile, entry = AGENT] = positionals
if (outfile === undefined) throw new Error('usage: node scripts/bundle.ts OUT [ENTRY] [--packages FILE]')

const root = fileURLToPath(new URL('..', import.meta.url))
const builtAtMs = await sourceTimeMs(root, process.env)

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: [entry],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node24',
  // An ESM bundle dies at start: the SDK requires built-in modules by name at run time.
  format: 'cjs',
  plugins: [slim(entry === AGENT)],
  // Read by agent/time/build-time.ts.
  define: { BUILT_AT_MS: builtAtMs === undefined ? 'undefined' : String(builtAtMs) },
  // V8 holds the text for as long as the process lives. Names stay, so a stack can be read; short lines keep it short.
  minifyWhitespace: true,
  lineLimit: 160,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
})

if (values.packages !== undefined) {
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs: all }) => Object.entries(all))
  const used = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path)
  const folders = used.flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [])
  await writeFile(values.packages, JSON.stringify([...new Set(folders)].toSorted(), undefined, 2))
}
