import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import { outboxFolder, outboxOptions, sample } from '../../../kit/outbox.ts'

test('whoever hands in relaxed samples faster than the disk takes them is held up, not refused', async () => {
  await using folder = await outboxFolder()
  const gate = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const { options } = outboxOptions(
    {},
    {
      async sync(datasync) {
        begun.resolve()
        await gate.promise
        await datasync()
      },
    },
  )
  await using outbox = await openOutbox(folder.path, options)
  const synced = outbox.append([sample('first')], 'synced')
  await begun.promise
  await outbox.append([sample('small')], 'relaxed')
  await outbox.append([sample('more than 1 MiB with it', { body: 'x'.repeat(1024 * 1024) })], 'relaxed')
  const answers: string[] = []
  const behind = outbox.append([sample('behind them')], 'relaxed').then(() => answers.push('behind'))
  await setImmediate()
  assert.deepEqual(answers, [])
  gate.resolve()
  await Promise.all([synced, behind])
  assert.equal(outbox.level().depth, 4)
})
