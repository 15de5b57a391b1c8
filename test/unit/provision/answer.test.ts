import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailureCode } from '../../../agent/failure.ts'
import { judgeAnswer } from '../../../agent/provision/answer.ts'

const answer = (status: number, body: unknown, query = '$rid=1', asked: 'register' | 'poll' = 'register') =>
  judgeAnswer(
    {
      topic: `$dps/registrations/res/${status}/?${query}`,
      payload: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    },
    'edge-0042',
    asked,
  )

const assigned = (state: Record<string, unknown> = {}) => ({
  operationId: '5.91f2a0c3d4e5b617.8d7a',
  status: 'assigned',
  registrationState: {
    registrationId: 'edge-0042',
    deviceId: 'edge-0042',
    assignedHub: 'hub1.azure-devices.net',
    status: 'assigned',
    substatus: 'initialAssignment',
    ...state,
  },
})

function failureIn(verdict: ReturnType<typeof answer>) {
  assert.ok(verdict?.next === 'failed', JSON.stringify(verdict))
  return verdict.failure
}

test('a finished registration gives hub and device, as the protocol shows it', () => {
  const payload = { site: 'Motor č. 5' }
  assert.deepEqual(answer(200, assigned({ payload })), {
    next: 'assigned',
    assignment: {
      assignedHub: 'hub1.azure-devices.net',
      deviceId: 'edge-0042',
      registrationId: 'edge-0042',
      substatus: 'initialAssignment',
      payload,
    },
  })
})

test('what DPS issued comes as PEM, and a chain that is none is no answer', () => {
  const verdict = answer(200, assigned({ issuedCertificateChain: ['MIIB', 'MIIC'] }))
  assert.ok(verdict?.next === 'assigned')
  assert.match(verdict.assignment.issuedPem ?? '', /^-----BEGIN CERTIFICATE-----\nMIIB\n-----END/)
  assert.equal(failureIn(answer(200, assigned({ issuedCertificateChain: 'MIIB' }))).code, 'DPS_BAD_ANSWER')
})

test('an accepted registration is polled after the time that DPS names, else after two seconds', () => {
  const body = { operationId: '5.1.2', status: 'assigning' }
  const named = answer(202, body, '$rid=7&retry-after=3')
  assert.ok(named?.next === 'poll')
  assert.equal(named.afterMs, 3_000)
  assert.equal(named.delivery.topic, '$dps/registrations/res/202/?$rid=7&retry-after=0')
  const unnamed = answer(202, body)
  assert.ok(unnamed?.next === 'poll')
  assert.equal(unnamed.afterMs, 2_000)
})

for (const senseless of ['-1', 'soon', '1e9', '', 'Infinity']) {
  test(`a retry-after of ${JSON.stringify(senseless)} is as good as none`, () => {
    const verdict = answer(202, { status: 'assigning' }, `$rid=1&retry-after=${senseless}`)
    assert.ok(verdict?.next === 'poll')
    assert.equal(verdict.afterMs, 2_000)
  })
}

for (const [seconds, waitMs] of [
  ['3600', 3_600_000],
  ['3601', 3_600_000],
  ['99999999', 3_600_000],
  ['9'.repeat(400), 3_600_000],
] as const) {
  test(`a retry-after of ${seconds.slice(0, 12)} is waited for, an hour at most`, () => {
    const verdict = answer(202, { status: 'assigning' }, `$rid=1&retry-after=${seconds}`)
    assert.ok(verdict?.next === 'poll')
    assert.equal(verdict.afterMs, waitMs)
    assert.equal(failureIn(answer(429, '{}', `$rid=1&retry-after=${seconds}`)).retryAfterMs, waitMs)
  })
}

test('an operation that DPS no longer knows when polled is started anew, and no verdict on the configuration', () => {
  const failure = failureIn(answer(404, '{}', '$rid=2', 'poll'))
  assert.equal(failure.code, 'DPS_OPERATION_LOST')
  assert.equal(failure.kind, 'transient')
})

test('what the SDK decodes as ASCII means the same as what DPS said', () => {
  const body = { operationId: '5.1.2', status: 'assigning', note: 'č “ 😀 \u007f' }
  const verdict = answer(202, body)
  assert.ok(verdict?.next === 'poll')
  assert.deepEqual(JSON.parse(verdict.delivery.payload.toString('ascii')), body)
  assert.ok(verdict.delivery.payload.every((byte) => byte < 0x7f))
})

for (const [status, code, kind] of [
  [400, 'DPS_BAD_REQUEST', 'refused'],
  [401, 'DPS_UNAUTHORIZED', 'refused'],
  [403, 'DPS_UNAUTHORIZED', 'refused'],
  [404, 'DPS_NOT_FOUND', 'refused'],
  [409, 'DPS_CONFLICT', 'transient'],
  [429, 'DPS_THROTTLED', 'transient'],
  [500, 'DPS_SERVICE_FAULT', 'transient'],
  [503, 'DPS_SERVICE_FAULT', 'transient'],
  [300, 'DPS_BAD_ANSWER', 'transient'],
] as const satisfies readonly (readonly [number, FailureCode, string])[]) {
  test(`status ${status} is ${code}, with a body, an empty one and a broken one`, () => {
    const whole = { errorCode: status * 1000 + 2, trackingId: 'a1', message: 'CA certificate not found' }
    const failure = failureIn(answer(status, whole))
    assert.equal(failure.code, code)
    assert.equal(failure.kind, kind)
    assert.match(failure.message, /CA certificate not found/)
    assert.deepEqual(failure.context, { errorCode: status * 1000 + 2, trackingId: 'a1' })
    for (const body of ['', '{', 'null', '[]']) assert.equal(failureIn(answer(status, body)).code, code)
  })
}

test('a throttle names when to come back', () => {
  assert.equal(failureIn(answer(429, '{}', '$rid=1&retry-after=30')).retryAfterMs, 30_000)
})

for (const [outcome, inner, code] of [
  ['failed', 401002, 'DPS_REGISTRATION_FAILED'],
  ['failed', 429001, 'DPS_THROTTLED'],
  ['failed', 500001, 'DPS_SERVICE_FAULT'],
  ['failed', undefined, 'DPS_REGISTRATION_FAILED'],
  ['disabled', undefined, 'DPS_DISABLED'],
  ['unassigned', undefined, 'DPS_NOT_ASSIGNED'],
  ['surprised', undefined, 'DPS_BAD_ANSWER'],
] as const) {
  test(`a 200 with the status ${outcome} and the inner code ${inner ?? 'absent'} is ${code}`, () => {
    const registrationState = { errorCode: inner, errorMessage: 'why' }
    assert.equal(failureIn(answer(200, { status: outcome, registrationState })).code, code)
  })
}

test('a hub that speaks only MQTT 5 is refused, a classic one is not', () => {
  assert.equal(failureIn(answer(200, assigned({ connectionProfile: 'mqttV5' }))).code, 'HUB_TYPE_UNSUPPORTED')
  for (const connectionProfile of ['classic', null]) {
    assert.equal(answer(200, assigned({ connectionProfile }))?.next, 'assigned')
  }
})

for (const [what, state] of Object.entries({
  'no hub': { assignedHub: undefined },
  'a hub that is no host name': { assignedHub: 'evil.example/../x' },
  'a hub with a control character': { assignedHub: 'hub\n1' },
  'a hub that is no text': { assignedHub: { host: 'x' } },
  'no device ID': { deviceId: undefined },
  'a device ID that changes the topic': { deviceId: 'a/messages/events' },
  'the registration of another device': { registrationId: 'edge-0043' },
})) {
  test(`an assignment with ${what} is not followed`, () => {
    assert.equal(failureIn(answer(200, assigned(state))).code, 'DPS_BAD_ANSWER')
  })
}

test('the registration ID is compared without case, the device ID is kept as it is written', () => {
  const verdict = answer(200, assigned({ registrationId: 'EDGE-0042', deviceId: 'Edge-0042' }))
  assert.ok(verdict?.next === 'assigned')
  assert.equal(verdict.assignment.deviceId, 'Edge-0042')
})

for (const body of ['', ' ', '{', 'null', '[]', '"assigned"', '{"status":7}']) {
  test(`a 200 with ${JSON.stringify(body)} is DPS_BAD_ANSWER`, () => {
    assert.equal(failureIn(answer(200, body)).code, 'DPS_BAD_ANSWER')
  })
}

test('what the service says is quoted without control characters and not at length', () => {
  const { message } = failureIn(answer(400, { message: `a\u001b[31m\nb${'x'.repeat(5_000)}` }))
  assert.doesNotMatch(message, /\p{Cc}/u)
  assert.ok(message.length < 400)
})

test('a message that is no answer is none of our business', () => {
  for (const topic of ['$dps/registrations/res/', '$dps/registrations/res/20/?$rid=1', 'x/200/?$rid=1']) {
    assert.equal(judgeAnswer({ topic, payload: Buffer.from('{}') }, 'edge-0042', 'register'), undefined)
  }
})
