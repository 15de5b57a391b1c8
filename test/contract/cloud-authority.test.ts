import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { makeCloudAuthority } from '../cloud/authority.ts'
import { openssl } from '../kit/openssl.ts'

const text = (path: string) => openssl(['x509', '-in', path, '-noout', '-text'])

test('the authority has the shape of the migration tutorial', async () => {
  await using authority = await makeCloudAuthority({ shape: 'tutorial', hosts: ['dps.localhost', 'hub-1.localhost'] })
  const { root, intermediate, folder } = authority

  for (const { keyPath } of [root, intermediate])
    assert.match(await readFile(keyPath, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  const rootText = await text(root.certificatePath)
  assert.match(rootText, /Public-Key: \(4096 bit\)/)
  assert.match(rootText, /Basic Constraints: critical\s+CA:TRUE\n/)
  const intermediateText = await text(intermediate.certificatePath)
  assert.match(intermediateText, /Public-Key: \(4096 bit\)/)
  assert.match(intermediateText, /CA:TRUE, pathlen:0/)

  const device = await authority.makeDevice('edge-1')
  const leafText = await text(device.chainFile)
  assert.match(leafText, /Basic Constraints: critical\s+CA:FALSE/)
  assert.match(leafText, /Extended Key Usage:\s+TLS Web Client Authentication\n/)
  const verify = ['verify', '-CAfile', root.certificatePath, '-untrusted', intermediate.certificatePath]
  assert.match(await openssl([...verify, device.chainFile]), /: OK/)

  const serverFile = join(folder, 'server.pem')
  await writeFile(serverFile, authority.server.chainPem)
  const serverText = await text(serverFile)
  assert.match(serverText, /Public-Key: \(2048 bit\)/)
  assert.match(serverText, /DNS:dps\.localhost, DNS:hub-1\.localhost, DNS:localhost/)
  assert.match(await openssl(['verify', '-CAfile', authority.caFile, serverFile]), /: OK/)
  await assert.rejects(openssl(['verify', '-CAfile', root.certificatePath, serverFile]), 'two separate roots')
})
