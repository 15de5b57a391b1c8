import { readFileSync } from 'node:fs'
import { replaceBetweenMarkers } from './markers.ts'

/** What the demo printed when it was last recorded; made by scripts/transcript. */
const transcript = new URL('../../docs/transcript.txt', import.meta.url)

/** README.md with the recorded story in it. */
export function readmePage(current = ''): string {
  const lines = readFileSync(transcript, 'utf8').trimEnd().split('\n')
  return replaceBetweenMarkers(current, 'demo', ['', ...lines.map((line) => `    ${line}`.trimEnd()), ''].join('\n'))
}
