import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getTwinTopic, parseTwinTopic, patchReportedTopic } from '../../../agent/hub/twin-topics.ts'

test('requests have the topics of the hub documentation', () => {
  assert.equal(getTwinTopic('7'), '$iothub/twin/GET/?$rid=7')
  assert.equal(patchReportedTopic('8'), '$iothub/twin/PATCH/properties/reported/?$rid=8')
})

test('an answer has status and request ID, and a version after a change', () => {
  const answer = { about: 'answer', status: 200, rid: '7', version: undefined }
  assert.deepEqual(parseTwinTopic('$iothub/twin/res/200/?$rid=7'), answer)
  assert.deepEqual(parseTwinTopic('$iothub/twin/res/204/?$rid=8&$version=12'), {
    about: 'answer',
    status: 204,
    rid: '8',
    version: 12,
  })
  assert.deepEqual(parseTwinTopic('$iothub/twin/res/204/?$version=12&$rid=8'), {
    about: 'answer',
    status: 204,
    rid: '8',
    version: 12,
  })
})

test('a desired change is told by its topic', () => {
  assert.deepEqual(parseTwinTopic('$iothub/twin/PATCH/properties/desired/?$version=3'), { about: 'desired' })
})

for (const topic of [
  '$iothub/twin/',
  '$iothub/twin/res/',
  '$iothub/twin/res/200/',
  '$iothub/twin/res/200/?',
  '$iothub/twin/res/200/?$rid=',
  '$iothub/twin/res/2000/?$rid=1',
  '$iothub/twin/res/ok/?$rid=1',
]) {
  test(`${topic} is none of the topics of a twin`, () => assert.equal(parseTwinTopic(topic), undefined))
}
