/** What a package is made of, for tools. Source: CycloneDX 1.6, JSON. */
import { createHash } from 'node:crypto'
import type { PackageAbout } from './about.ts'
import type { Component } from './contents.ts'

export function sbomOf(about: PackageAbout, components: readonly Component[]): string {
  const { name, version, arch, sourceTimeMs } = about
  const purl = `pkg:deb/${name}@${version}?arch=${arch}`
  const parts = components.map(partOf)
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf([purl, String(sourceTimeMs), ...parts.map((part) => part.purl)].join(' '))}`,
    version: 1,
    metadata: {
      timestamp: new Date(sourceTimeMs).toISOString(),
      component: { type: 'application', 'bom-ref': purl, name, version, purl, licenses: [{ expression: 'MIT' }] },
    },
    components: parts,
    dependencies: [{ ref: purl, dependsOn: parts.map((part) => part.purl) }],
  }
  return `${JSON.stringify(document, undefined, 1)}\n`
}

function partOf({ name, version, licence, integrity }: Component) {
  const [algorithm = '', hash = ''] = integrity.split('-', 2)
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`
  return {
    type: name.startsWith('node-linux-') ? 'platform' : 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    licenses: [{ expression: licence.replace(/^\((.*)\)$/, '$1') }],
    hashes: [{ alg: algorithm.replace(/^sha/, 'SHA-'), content: Buffer.from(hash, 'base64').toString('hex') }],
  }
}

/** The same text gives the same number: a build that is repeated must not differ. Source: RFC 9562, version 8. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)]
  return parts.join('-')
}
