import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAwaited } from '../../../agent/config/awaited.ts'

const problem = (key: string | undefined, value?: string) => ({
  key,
  value,
  problem: 'It is missing.',
  remedy: 'Write it.',
  origin: undefined,
})

const cases: readonly [name: string, problems: readonly ReturnType<typeof problem>[], awaited: boolean][] = [
  [
    'a device out of the box has neither name nor DPS',
    [problem('device.registrationId'), problem('dps.idScope')],
    true,
  ],
  ['a device with a name waits for its DPS', [problem('dps.idScope')], true],
  ['a name that is written and wrong is a mistake', [problem('device.registrationId', '"Press 07"')], false],
  ['a second mistake beside what is missing is one', [problem('dps.idScope'), problem('log.level', '"loud"')], false],
  ['a file that cannot be read is a mistake', [problem(undefined), problem('dps.idScope')], false],
  ['another key that is missing is a mistake', [problem('auth.fallback.until')], false],
  ['without problems there is nothing to wait for', [], false],
]

for (const [name, problems, awaited] of cases) test(name, () => assert.equal(isAwaited(problems), awaited))
