import taken from '../../docs/performance.json' with { type: 'json' }
import packaged from '../../docs/package-figures.json' with { type: 'json' }
import soak from '../../docs/soak.json' with { type: 'json' }
import { telemetryTable } from '../../agent/telemetry/fields.ts'
import { packagedSection } from '../figures/packaged/page.ts'
import { performancePage } from '../figures/page.ts'
import { renewalsSection } from '../figures/renewals-page.ts'
import { soakSection } from '../figures/soak-page.ts'
import { configurationPage } from './configuration.ts'
import { modelPage } from './dtdl.ts'
import { exampleFile } from './example.ts'
import { failuresPage } from './failures.ts'
import type { Document } from './generate.ts'
import { replaceBetweenMarkers } from './markers.ts'
import { readmePage } from './readme.ts'
import { transitionsPage } from './transitions.ts'
import { twinPage } from './twin.ts'

/** Everything that scripts/docs makes. A page that is generated in part uses `replaceBetweenMarkers` on `current`. */
export const documents: readonly Document[] = [
  { path: 'docs/configuration.md', make: configurationPage },
  { path: 'docs/failures.md', make: failuresPage },
  { path: 'docs/model/iot-device-agent-1.json', make: modelPage },
  {
    path: 'docs/performance.md',
    make: () => [performancePage(taken), soakSection(soak), packagedSection(packaged)].join('\n'),
  },
  { path: 'packaging/config.example.toml', make: exampleFile },
  { path: 'docs/telemetry.md', make: (page = '') => replaceBetweenMarkers(page, 'fields', telemetryTable()) },
  { path: 'docs/renewal.md', make: (page = '') => replaceBetweenMarkers(page, 'fleet', renewalsSection()) },
  { path: 'docs/transitions.md', make: transitionsPage },
  { path: 'docs/twin.md', make: twinPage },
  { path: 'README.md', make: readmePage },
]
