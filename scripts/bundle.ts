/**
 * Bundles a program into one CommonJS file: `node scripts/bundle.ts OUT [ENTRY] [--packages FILE]`. The same input gives
 * the same bytes. FILE gets what it was taken from, in JSON: bytes of the bundle by folder below node_modules; '' is ours.
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
  const bytes: Record<string, number> = {}
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs).filter(([, input]) => input.bytesInOutput > 0)) {
      const folder = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? ''
      bytes[folder] = (bytes[folder] ?? 0) + bytesInOutput
    }
  }
  const sorted = Object.entries(bytes).toSorted(([a], [b]) => (a < b ? -1 : 1))
  await writeFile(values.packages, JSON.stringify(Object.fromEntries(sorted), undefined, 2))
}
