/** The program of the migration tutorial as it stands there, with certificates that its commands make. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { makeTemporaryFolder } from '../kit/openssl.ts'
import { ID_SCOPE, openAzure } from './azure.ts'
import { runProgram, trusting } from './python-client.ts'

const azure = await openAzure()
after(() => azure[Symbol.asyncDispose]())

const beside = (name: string) => fileURLToPath(new URL(name, import.meta.url))

test(
  'the Python program of the tutorial registers by its certificate and sends telemetry',
  { timeout: 120_000 },
  async () => {
    await using folder = await makeTemporaryFolder()
    const deviceId = azure.newId()
    const environment = { ...process.env, CA_PASSPHRASE: 'a strong passphrase' }
    await promisify(execFile)(beside('tutorial-certificates.sh'), [folder.path, deviceId], { env: environment })
    const file = (...names: string[]) => join(folder.path, ...names)
    const certificate = await readFile(file('intermediate', 'intermediate-ca.pem'), 'utf8')
    assert.match(await readFile(file('intermediate', 'intermediate-ca.key'), 'utf8'), /ENCRYPTED/)
    // Step 2 of the tutorial: the intermediate signs the group.
    await azure.enrollGroup({
      attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate } } } },
      initialTwin: { tags: { authType: 'x509', migrationWave: 'pilot' } },
    })

    const said = await runProgram(
      beside('python/iot_device_x509.py'),
      {
        ...trusting(azure.caFile),
        ...{ DPS_ID_SCOPE: ID_SCOPE, DEVICE_ID: deviceId, TELEMETRY_INTERVAL: '1' },
        ...{ CERT_PATH: file('devices', `${deviceId}.pem`), KEY_PATH: file('devices', `${deviceId}.key`) },
      },
      async () => {
        const messages = await azure.messages(deviceId, 2)
        for (const { body, system } of messages) {
          assert.partialDeepStrictEqual(JSON.parse(body.toString()), { deviceId, temperature: 22.5, authType: 'x509' })
          assert.equal(system['content-type'], 'application/json')
          assert.equal(system['content-encoding'], 'utf-8')
          assert.partialDeepStrictEqual(JSON.parse(system['iothub-connection-auth-method'] ?? ''), { type: 'x509' })
        }
        assert.equal(messages.length, 2)
      },
    )
    assert.match(said, new RegExp(`Device provisioned to hub: ${azure.hubHost}`))
    assert.match(said, /Telemetry sent: temp=22\.5/)
    assert.equal((await azure.authentication(deviceId)).type, 'selfSigned')
    const { tags } = (await azure.registry.getTwin(deviceId)).responseBody as { tags: Record<string, string> }
    assert.equal(tags['migrationWave'], 'pilot')
  },
)
