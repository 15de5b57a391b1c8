/** Writes every generated document, or with `--check` says which ones are stale. Run it as scripts/docs. */
import { documents } from './pages/documents.ts'
import { findStale, writeStale } from './pages/generate.ts'

const root = new URL('../', import.meta.url).pathname
const options = process.argv.slice(2)

if (options.some((option) => option !== '--check')) {
  process.stderr.write('usage: scripts/docs [--check]\n')
  process.exitCode = 2
} else if (options.length === 0) {
  for (const path of await writeStale(root, documents)) process.stdout.write(`written ${path}\n`)
} else {
  const stale = await findStale(root, documents)
  for (const path of stale) process.stderr.write(`stale: ${path}; run scripts/docs\n`)
  process.exitCode = stale.length === 0 ? 0 : 1
}
