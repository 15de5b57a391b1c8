/** Bundles a program into one CommonJS file: `node scripts/bundle.ts OUT [ENTRY]`. The same input gives the same bytes. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { sourceTimeMs } from './source-time.ts'
import { slim } from './slim.ts'

const AGENT = 'agent/main.ts'
const [outfile, entry = AGENT] = process.argv.slice(2)
if (outfile === undefined) throw new Error('usage: node scripts/bundle.ts OUT [ENTRY]')

const root = fileURLToPath(new URL('..', import.meta.url))
const builtAtMs = await sourceTimeMs(root, process.env)

await build({
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
  metafile: false,
})
