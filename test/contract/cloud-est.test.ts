/** The EST server of the stand-in, asked by curl and read by openssl. Source of the rules: RFC 7030, sections 3.2.3 and 4. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'

import { makeCloudAuthority, type CloudAuthority } from '../cloud/authority.ts'
import { startEst, type Est } from '../cloud/est.ts'
import { makeRoot } from '../kit/openssl.ts'
import { lacks } from '../kit/program.ts'

const run = promisify(execFile)

let authority: CloudAuthority
let est: Est

before(async () => {
  authority = await makeCloudAuthority({ shape: 'quick', hosts: ['localhost'] })
  est = await startEst(authority)
})
after(async () => {
  await est[Symbol.asyncDispose]()
  await authority[Symbol.asyncDispose]()
})

const at = (name: string) => join(authority.folder, name)

async function ask(operation: string, ...options: readonly string[]) {
  const out = at('answer')
  const words = [
    '--silent',
    '--cacert',
    authority.caFile,
    '--output',
    out,
    '--write-out',
    '%{http_code} %{content_type}',
  ]
  const { stdout } = await run('curl', [...words, ...options, `${est.url}/.well-known/est/${operation}`])
  const [status = '', ...type] = stdout.split(' ')
  return { status: Number(status), type: type.join(' ') }
}

const subjectsOf = async () =>
  (
    await run('sh', ['-euc', 'base64 -d "$1" | openssl pkcs7 -inform DER -print_certs -noout', 'sh', at('answer')])
  ).stdout
    .split('\n')
    .filter((line) => line.startsWith('subject='))

/** A request in base64, as it goes out. */
async function layRequest(name: string, file = name): Promise<readonly string[]> {
  const script = `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$2" -batch -outform DER | base64 >"$1.b64"`
  await run('sh', ['-euc', script, 'sh', at(file), name])
  return ['--header', 'Content-Type: application/pkcs10', '--data-binary', `@${at(`${file}.b64`)}`]
}

const named = (user: string, password = est.password) => ['--user', `${user}:${password}`]

test('everybody gets the certificates of the authority; attributes it has none', lacks('curl'), async () => {
  assert.deepEqual(await ask('cacerts'), { status: 200, type: 'application/pkcs7-mime; smime-type=certs-only' })
  assert.match((await subjectsOf()).join('\n'), /IoT Intermediate CA 01[^]*IoT Root CA/)
  assert.equal((await ask('csrattrs')).status, 204)
})

test(
  'a device enrols by its name and the password, and again by its certificate, for its own name alone',
  lacks('curl'),
  async () => {
    const request = await layRequest('edge-1')
    assert.equal((await ask('simpleenroll', ...named('edge-1'), ...request)).status, 200)
    assert.match((await subjectsOf()).join(), /^subject=CN ?= ?edge-1$/)
    await run('sh', [
      '-euc',
      'base64 -d "$1" | openssl pkcs7 -inform DER -print_certs >"$2"',
      'sh',
      at('answer'),
      at('edge-1.pem'),
    ])
    await run('openssl', [
      'verify',
      '-CAfile',
      authority.root.certificatePath,
      '-untrusted',
      authority.intermediate.certificatePath,
      at('edge-1.pem'),
    ])

    const shown = ['--cert', at('edge-1.pem'), '--key', at('edge-1.key')]
    assert.equal((await ask('simplereenroll', ...shown, ...(await layRequest('edge-1', 'edge-1-again')))).status, 200)
    assert.equal((await ask('simplereenroll', ...shown, ...(await layRequest('edge-2')))).status, 400)
  },
)

test(
  'who is not known gets nothing: no name, another password, a password for a renewal, a certificate of a stranger',
  lacks('curl'),
  async () => {
    const request = await layRequest('edge-3')
    const stranger = await makeRoot(authority.folder, 'Somebody else')
    const pem = await stranger.sign(
      (await run('openssl', ['req', '-new', '-key', at('edge-3.key'), '-subj', '/CN=edge-3', '-batch'])).stdout,
    )
    await writeFile(at('stranger.pem'), pem)
    const strange = ['--cert', at('stranger.pem'), '--key', at('edge-3.key')]
    for (const [operation, who] of [
      ['simpleenroll', []],
      ['simpleenroll', named('edge-3', 'guess')],
      ['simplereenroll', named('edge-3')],
      ['simplereenroll', strange],
    ] as const)
      assert.equal((await ask(operation, ...who, ...request)).status, 401, `${operation} ${who.join(' ')}`)
  },
)

test('what is no request for that name, or no request at all, is refused', lacks('curl'), async () => {
  const request = await layRequest('edge-4')
  assert.equal((await ask('simpleenroll', ...named('edge-5'), ...request)).status, 400)
  const type = ['--header', 'Content-Type: application/pkcs10']
  assert.equal((await ask('simpleenroll', ...named('edge-4'), ...type, '--data-binary', 'aGVsbG8=')).status, 400)
  assert.equal((await ask('simpleenroll', ...named('edge-4'), '--data-binary', 'x')).status, 415)
  await writeFile(at('large'), 'A'.repeat(70_000))
  assert.equal((await ask('simpleenroll', ...named('edge-4'), ...type, '--data-binary', `@${at('large')}`)).status, 413)
  assert.equal((await ask('simpleenroll', ...named('edge-4'))).status, 405)
  assert.equal((await ask('serverkeygen', ...named('edge-4'), ...request)).status, 404)
})
