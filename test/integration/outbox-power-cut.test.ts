/** The power is cut while an outbox is written: a process of its own on a real file system, and what is left of that. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../agent/system/clock.ts'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'
import { createChance } from '../kit/chance.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { outboxOptions, parcelsOf } from '../kit/outbox.ts'
import { openPowerDisk, powerTrouble } from '../kit/power.ts'
import type { PowerCut, PowerDisk } from '../kit/power.ts'
import { parseId, sampleOf } from './outbox-content.ts'

const skip = (await powerTrouble()) ?? false

/** Cuts while one process writes. */
const CUTS = 4

const chance = createChance(20_261_123)
let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>

before(async () => {
  folder = await makeTemporaryFolder()
})
after(() => folder[Symbol.asyncDispose]())

/** What a writer said, all of its processes together. */
async function said(notes: string, what: string): Promise<readonly string[]> {
  const lines = (await readFile(notes, 'utf8')).split('\n').slice(0, -1)
  return lines.filter((line) => line.startsWith(`${what} `)).flatMap((line) => line.split(' ').slice(1))
}

interface Writer extends AsyncDisposable {
  /** Nothing is written between the two: copying the disk takes as long as hundreds of samples. */
  stand(): void
  goOn(): void
}

interface Manner {
  readonly pauseMs: number
  readonly syncMs: number | 'never'
}

function startWriter(disk: PowerDisk, notes: string, first: number, { pauseMs, syncMs }: Manner): Writer {
  const child = spawn(process.execPath, [fileURLToPath(new URL('outbox-writer.ts', import.meta.url))], {
    env: {
      ...{ OUTBOX: join(disk.path, 'state', 'outbox.db'), NOTES: notes, FIRST: String(first) },
      ...{ PAUSE_MS: String(pauseMs), SYNC_MS: String(syncMs) },
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const ended = once(child, 'close')
  return {
    stand: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Opens what a cut has left. */
async function contentOf(cut: PowerCut): Promise<readonly (readonly Sample[])[]> {
  await using mounted = await cut.mount()
  const { options, failures } = outboxOptions({ batchSamples: 3 })
  await using outbox = await openOutbox(join(mounted.path, 'state', 'outbox.db'), options)
  outbox.closeBatches(true)
  const names = new Set(outbox.streams().map(({ name }) => name))
  const content = [...names].map((name) => parcelsOf(outbox, name).flatMap(({ samples }) => samples))
  assert.deepEqual(failures, [], 'a power cut damages nothing')
  return content
}

/** All as they were handed in, and those of each writer in their order. */
function isSound(content: readonly (readonly Sample[])[]): void {
  for (const samples of content) {
    const last = new Map<number, number>()
    for (const sample of samples) {
      const [writer, number] = parseId(sample.id)
      assert.deepEqual(sample, sampleOf(writer, number))
      assert.ok(number > (last.get(writer) ?? -1), `${sample.id} behind ${last.get(writer)}`)
      last.set(writer, number)
    }
  }
}

interface Cutting {
  /** Per cut, IDs that were answered before it and not acknowledged, and that are not there. */
  readonly lost: readonly (readonly string[])[]
  readonly kept: number
}

/** Processes one after the other on the same disk, cut while they write. */
async function cutAgainAndAgain(manners: readonly Manner[]): Promise<Cutting> {
  await using disk = await openPowerDisk()
  const notes = join(folder.path, `notes-${manners.length}`)
  await writeFile(notes, '')
  const lost: (readonly string[])[] = []
  for (const [process, manner] of manners.entries()) {
    await using writer = startWriter(disk, notes, process * 1_000_000, manner)
    while ((await said(notes, 'kept')).every((id) => parseId(id)[1] < process * 1_000_000)) await systemClock.wait(5)
    for (let index = 0; index < CUTS; index += 1) {
      await systemClock.wait(chance() * 400)
      // Every second time the writer is in the middle of something.
      if (index % 2 === 0) writer.stand()
      const kept = await said(notes, 'kept')
      const cut = await disk.cut()
      const gone = new Set(await said(notes, 'gone'))
      writer.goOn()
      const content = await contentOf(cut)
      isSound(content)
      const there = new Set(content.flat().map(({ id }) => id))
      lost.push(kept.filter((id) => !gone.has(id) && !there.has(id)))
    }
  }
  assert.deepEqual(await said(notes, 'failure'), [])
  return { lost, kept: (await said(notes, 'kept')).length }
}

test('what was answered as synced survives a power cut at any moment, in order and unchanged', { skip }, async () => {
  const { lost, kept } = await cutAgainAndAgain([
    { pauseMs: 0, syncMs: 0 },
    { pauseMs: 20, syncMs: 40 },
    { pauseMs: 0, syncMs: 10 },
    { pauseMs: 2, syncMs: 0 },
    { pauseMs: 0, syncMs: 40 },
  ])
  assert.equal(lost.length, 5 * CUTS)
  assert.deepEqual(lost.flat(), [])
  assert.ok(kept > 1_000, `${kept} samples`)
})

test('the same cuts find what is lost without a sync', { skip }, async () => {
  // With pauses, as otherwise most of the time goes into the syncs that belong to checkpoints.
  const { lost } = await cutAgainAndAgain([{ pauseMs: 20, syncMs: 'never' }])
  assert.ok(
    lost.some((ids) => ids.length > 0),
    'nothing was lost: the cuts have no teeth',
  )
})
