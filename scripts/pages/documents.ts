import { configurationPage } from './configuration.ts'
import { exampleFile } from './example.ts'
import { failuresPage } from './failures.ts'
import type { Document } from './generate.ts'
import { readmePage } from './readme.ts'

/** Everything that scripts/docs makes. A page that is generated in part uses `replaceBetweenMarkers` on `current`. */
export const documents: readonly Document[] = [
  { path: 'docs/configuration.md', make: configurationPage },
  { path: 'docs/failures.md', make: failuresPage },
  { path: 'packaging/config.example.toml', make: exampleFile },
  { path: 'README.md', make: readmePage },
]
