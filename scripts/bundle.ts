/** Bundles the program into one CommonJS file: `node scripts/bundle.ts OUT`. The same input gives the same bytes. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const [outfile] = process.argv.slice(2)
if (outfile === undefined) throw new Error('usage: node scripts/bundle.ts OUT')

await build({
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['agent/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node24',
  // An ESM bundle dies at start: the SDK requires built-in modules by name at run time.
  format: 'cjs',
  // Only file upload needs it, which this agent has no use for: 2.3 MB of 4.7.
  alias: { '@azure/storage-blob': './scripts/no-file-upload.cjs' },
  legalComments: 'none',
  logLevel: 'warning',
  metafile: false,
})
