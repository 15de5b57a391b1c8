import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import { idsOf, outboxFolder, outboxOptions } from '../../../kit/outbox.ts'

const child = fileURLToPath(new URL('killed-child.ts', import.meta.url))

/** Runs it until so many lines have come, and kills it; all that it said. */
async function killAfter(path: string, lines: number): Promise<readonly string[]> {
  const process = spawn('node', [child, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  process.stdout.setEncoding('utf8')
  process.stdout.on('data', (text: string) => {
    said += text
    if (said.split('\n').length > lines) process.kill('SIGKILL')
  })
  await once(process, 'close')
  return said.split('\n').slice(0, -1)
}

for (const lines of [1, 500, 3000])
  test(`all that was answered is there, in its order and once, after a kill behind ${lines} answers`, async () => {
    await using folder = await outboxFolder()
    const answered = await killAfter(folder.path, lines)
    assert.ok(answered.length >= lines)
    await using outbox = await openOutbox(folder.path, outboxOptions().options)
    for (const stream of ['a', 'b', 'c']) {
      const kept = idsOf(outbox, stream).flat()
      const wanted = answered.filter((id) => id.startsWith(stream))
      assert.deepEqual(kept.slice(0, wanted.length), wanted)
      assert.ok(kept.length <= wanted.length + 3, 'no more than the delivery that was not answered')
      assert.equal(kept.length % 3, 0, 'a delivery is kept whole')
    }
  })
