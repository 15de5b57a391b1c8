/** The agent is certified, and renews, by an EST server that is not ours: GlobalSign's. It signs with the authority that DPS knows. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { eventually } from '../kit/device.ts'
import { makeKey, makeRequest } from '../kit/openssl.ts'
import { bootUnit, ended, reported, startBed, wish } from '../integration/transition-kit.ts'
import type { Bed, ReportedAuth, Unit } from '../integration/transition-kit.ts'
import { assertOneAtATime, sessionsOf } from '../integration/transition-record.ts'

const PORT = 18_443

let bed: Bed
let stopServer: () => Promise<void>

before(async () => {
  const program = process.env['CONFORMANCE_EST']
  if (program === undefined) throw new Error('CONFORMANCE_EST is not set: run scripts/conformance')
  bed = await startBed()
  const { authority } = bed.cloud
  const [key, cert, chain, config] = ['est.key', 'est.pem', 'est-chain.pem', 'est.json'].map((name) =>
    join(bed.folder, name),
  ) as [string, string, string, string]
  const profile = { extensions: 'subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth' }
  await writeFile(cert, await authority.root.sign(await makeRequest(await makeKey(key), '/CN=localhost'), profile))
  await writeFile(chain, authority.intermediate.certificatePem + authority.root.certificatePem)
  await writeFile(
    config,
    JSON.stringify({
      mock_ca: { certificates: chain, private_key: authority.intermediate.keyPath },
      tls: { listen_address: `localhost:${PORT}`, certificates: cert, private_key: key, client_cas: [chain] },
      allowed_hosts: ['localhost'],
      rate_limit: 150,
      timeout: 30,
    }),
  )
  const child = spawn(program, ['-config', config], { stdio: ['ignore', 'inherit', 'inherit'] })
  stopServer = async () => {
    child.kill()
    await once(child, 'close')
  }
  await eventually(async () => {
    const socket = connect(PORT, 'localhost')
    const heard = await once(socket, 'connect').then(
      () => true,
      () => undefined,
    )
    socket.destroy()
    return heard
  })
})
after(async () => {
  await stopServer()
  await bed[Symbol.asyncDispose]()
})

const toml = () => `[issuer]
kind = "est"
[issuer.est]
server = "https://localhost:${PORT}"
caFile = "${bed.cloud.authority.root.certificatePath}"
`

const certificateOf = ({ certificate }: ReportedAuth) =>
  certificate as unknown as { readonly thumbprintSha256: string; readonly issuedBy: string; readonly issuer: string }

const keyOf = (unit: Unit, number: number) => unit.device.read(`credentials/gen-000${number}/key.pem`)

test('a SAS device enrols, moves to X.509, and enrols again with its certificate and a new key', async () => {
  await using unit = await bootUnit(bed, 'est-1', { toml: toml() })
  const auth = await ended(unit, wish(unit, { mode: 'x509' }))
  assert.deepEqual([auth.mode, auth.lastAttempt?.result], ['x509', 'active'])
  const first = certificateOf(auth)
  assert.equal(first.issuedBy, 'est')

  const again = await ended(unit, wish(unit, { mode: 'x509', renew: 'once more' }))
  assert.deepEqual([again.mode, again.lastAttempt?.result], ['x509', 'active'])
  assert.notEqual(certificateOf(again).thumbprintSha256, first.thumbprintSha256)
  assert.notEqual(await keyOf(unit, 1), await keyOf(unit, 2))
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'x509'])
  assertOneAtATime(unit)
})

test('beside a server that is not there a certificate can still be laid down by hand', async () => {
  await using unit = await bootUnit(bed, 'est-2', { toml: toml().replace(`:${PORT}`, ':1') })
  const version = wish(unit, { mode: 'x509' })
  const { csr = '' } = (await reported(unit, (found) => 'csr' in found)) as { readonly csr?: string }
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${(csr.match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
  const payload = { chain: await bed.cloud.authority.signDevice(pem) }
  const answer = await bed.cloud.hub.invokeMethod('est-2', {
    name: 'installCertificate',
    payload,
    responseTimeoutSeconds: 30,
  })
  assert.equal(answer.status, 200)
  await eventually(async () => {
    const settling = unit.clock.pending().find((leftMs) => leftMs <= 500)
    if (settling !== undefined) await unit.clock.advance(settling)
    return (await unit.device.has('issued/est-2.pem')) ? undefined : true
  })
  const auth = await ended(unit, version)
  assert.equal(certificateOf(auth).issuedBy, 'folder')
  assert.match(unit.agent().journal.text(), /ISSUER_UNREACHABLE/)
})

// Under this label it answers /csrattrs with the example of RFC 7030, 4.5.2, which asks for a key on P-384.
test('a key that the server does not ask for is told of, with the value that it asks for; with that value nothing is', async () => {
  const labelled = `${toml()}label = "csrattrs"\n`
  await using other = await bootUnit(bed, 'est-3', { toml: labelled })
  await ended(other, wish(other, { mode: 'x509' }))
  assert.match(
    other.agent().journal.text(),
    /ISSUER_WANTS_OTHER_KEY.*asks for a key of kind ec-p384, and the request has ec-p256/,
  )
  await using wanted = await bootUnit(bed, 'est-4', { toml: `${labelled}[auth.x509]\nkeyType = "ec-p384"\n` })
  const auth = await ended(wanted, wish(wanted, { mode: 'x509' }))
  assert.equal(certificateOf(auth).issuedBy, 'est')
  assert.doesNotMatch(wanted.agent().journal.text(), /ISSUER_WANTS_OTHER_KEY/)
})
