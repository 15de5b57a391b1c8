import assert from 'node:assert/strict'
import { test } from 'node:test'
import { methodAnswerTopic, parseMethodTopic } from '../../../agent/hub/method-topics.ts'

test('the topic of a call names the method and the request', () => {
  assert.deepEqual(parseMethodTopic('$iothub/methods/POST/ping/?$rid=1a'), { name: 'ping', rid: '1a' })
  assert.deepEqual(parseMethodTopic('$iothub/methods/POST/a%20b/?x=1&$rid=7&y'), { name: 'a b', rid: '7' })
})

test('a request ID goes back as it came', () => {
  const rid = parseMethodTopic('$iothub/methods/POST/ping/?$rid=%7Ba%2Fb%7D')?.rid ?? ''
  assert.equal(methodAnswerTopic(200, rid), '$iothub/methods/res/200/?$rid=%7Ba%2Fb%7D')
})

test('a name that cannot be read leaves the request to be refused', () => {
  for (const name of ['%', '%ff', '', 'x'.repeat(129)]) {
    assert.deepEqual(parseMethodTopic(`$iothub/methods/POST/${name}/?$rid=1`), { name: undefined, rid: '1' }, name)
  }
})

test('what could not be answered is no call', () => {
  for (const topic of [
    '$iothub/methods/POST/ping',
    '$iothub/methods/POST/ping/',
    '$iothub/methods/POST/ping/?$rid=',
    '$iothub/methods/POST/ping/?rid=1',
    '$iothub/methods/POST/ping/more/?$rid=1',
    '$iothub/methods/res/200/?$rid=1',
    // Wildcards and control characters may not stand in a topic that is published to: MQTT 3.1.1 sections 3.3.2.1, 1.5.3.
    '$iothub/methods/POST/ping/?$rid=#',
    '$iothub/methods/POST/ping/?$rid=a+b',
    '$iothub/methods/POST/ping/?$rid=a\u0000',
    `$iothub/methods/POST/ping/?$rid=${'x'.repeat(129)}`,
  ]) {
    assert.equal(parseMethodTopic(topic), undefined, topic)
  }
})
