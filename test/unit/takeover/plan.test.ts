import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OldClient } from '../../../agent/takeover/find.ts'
import { laneOfProgram, literalIn, valuesOf } from '../../../agent/takeover/names.ts'
import { planImport } from '../../../agent/takeover/plan.ts'
import { CONNECTION_STRING, DEVICE, SECRET } from '../../kit/old-client.ts'

function clientOf(variables: Readonly<Record<string, string>>, lane?: 'x509' | 'sas'): OldClient {
  const where = '/etc/x'
  const values = valuesOf(new Map(Object.entries(variables).map(([name, value]) => [name, { value, where }])))
  return { name: 'x.service', unitFile: '/x', dropIns: [], user: 'iot', program: undefined, values, lane }
}

test('the names of the samples for DPS with a key of the device are understood', () => {
  for (const names of [
    ['PROVISIONING_HOST', 'PROVISIONING_IDSCOPE', 'PROVISIONING_REGISTRATION_ID', 'PROVISIONING_SYMMETRIC_KEY'],
    [
      'IOTHUB_DEVICE_DPS_ENDPOINT',
      'IOTHUB_DEVICE_DPS_ID_SCOPE',
      'IOTHUB_DEVICE_DPS_DEVICE_ID',
      'IOTHUB_DEVICE_DPS_DEVICE_KEY',
    ],
  ]) {
    const values = ['dps.example.net', '0ne00ABCDEF', DEVICE, SECRET]
    const variables = Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
    const { lane, configText, copies, problems } = planImport(clientOf(variables), undefined, 0)
    assert.deepEqual([lane, problems.length, copies.length], ['sas', 0, 1])
    assert.match(configText, /host = "dps\.example\.net"/)
    assert.match(configText, /keyFile = "\/etc\/iot-device-agent\/secrets\/imported-sas\.key"/)
    assert.ok(!configText.includes(SECRET) && !configText.includes('enrollment'))
  }
})

test('a key that no group derives is taken for that of an individual enrollment, and it is said', () => {
  const key = Buffer.alloc(64, 7).toString('base64')
  const plan = planImport(clientOf({ DEVICE_ID: DEVICE, PROVISIONING_SYMMETRIC_KEY: key }), undefined, 0)
  assert.match(plan.configText, /enrollment = "individual"/)
  assert.match(plan.notes.join(), /individual/)
})

test('a connection string of a policy is no way for one device, and is not quoted', () => {
  const policy = `HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=${SECRET}`
  const { problems } = planImport(clientOf({ CONNECTION_STRING: policy }), undefined, 0)
  assert.equal(problems.length, 1)
  assert.ok(!JSON.stringify(problems).includes(SECRET))
})

test('a connection string of another device than DEVICE_ID is a problem; an odd name is allowed by idRule', () => {
  const other = planImport(clientOf({ DEVICE_ID: 'other', CONNECTION_STRING }), undefined, 0)
  assert.match(other.problems.map(({ problem }) => problem).join(), /is for "press-07"/)
  const odd = planImport(clientOf({ CONNECTION_STRING: CONNECTION_STRING.replace(DEVICE, 'Press_07') }), undefined, 0)
  assert.match(odd.configText, /registrationId = "Press_07"\nidRule = "azure"/)
})

test('what the program speaks decides, and a faulty other way is left out with a note', () => {
  const pair = { certificateFile: '/c', keyFile: '/k', certificatePem: undefined, keyPem: undefined }
  const plan = planImport(clientOf({ DEVICE_ID: DEVICE, CONNECTION_STRING }, 'sas'), pair, 0)
  assert.deepEqual([plan.lane, plan.problems], ['sas', []])
  assert.match(plan.notes.join(), /not taken along: There is no readable file/)
  assert.equal(laneOfProgram('create_from_x509_certificate'), 'x509')
  assert.equal(laneOfProgram('create_from_connection_string'), 'sas')
  assert.equal(laneOfProgram('create_from_x509_certificate create_from_symmetric_key'), undefined)
})

test('a literal is a whole connection string in quotes and nothing else', () => {
  assert.equal(literalIn(`a = '${CONNECTION_STRING}'\n`), CONNECTION_STRING)
  assert.equal(literalIn('a = "HostName=h.net;DeviceId=d;x509=true"'), undefined)
  assert.equal(literalIn(`"HostName=${'h'.repeat(300)};SharedAccessKey=x"`), undefined)
})
