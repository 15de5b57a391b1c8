import assert from 'node:assert/strict'
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import type { Failure } from '../../../agent/failure.ts'
import { createFolderIssuer } from '../../../agent/issue/folder.ts'
import { writeDurably } from '../../../agent/system/files.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const request = { registrationId: 'edge-0042', csrPem: 'the request\n' }
const block = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
const POLL = 30_000
const SETTLED = 500
const SETTLED_OPEN = 10_000
const problems = [{ code: 'CHAIN_KEY_MISMATCH', message: 'another key' }] as const
const refused = { outcome: 'refused', problems } as const
const within = () => AbortSignal.timeout(20_000)

async function setUp() {
  const folder = await makeTemporaryFolder()
  const folders = { requestsDir: join(folder.path, 'requests'), issuedDir: join(folder.path, 'issued') }
  const clock = createFakeClock(Date.UTC(2026, 0, 2))
  const warnings: Failure[] = []
  const issuer = createFolderIssuer({ ...folders, clock, warn: (failure) => void warnings.push(failure) })
  return {
    ...{ ...folders, clock, warnings, issuer },
    csr: join(folders.requestsDir, 'edge-0042.csr'),
    pem: join(folders.issuedDir, 'edge-0042.pem'),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('the request is laid out whole and readable, and not written again when it is there', async () => {
  await using bench = await setUp()
  const stop = new AbortController()
  const first = bench.issuer.issue(request, stop.signal)
  await bench.clock.waiting(POLL)
  assert.equal(await readFile(bench.csr, 'utf8'), request.csrPem)
  const before = await stat(bench.csr)
  assert.equal(before.mode & 0o777, 0o644)
  stop.abort()
  await assert.rejects(first)
  const again = new AbortController()
  const second = bench.issuer.issue(request, again.signal)
  await bench.clock.waiting(POLL)
  assert.equal((await stat(bench.csr)).ino, before.ino)
  again.abort()
  await assert.rejects(second)
})

test('a change in the folder is noticed without waiting for the next poll', async () => {
  await using bench = await setUp()
  const issued = bench.issuer.issue(request, within())
  await bench.clock.waiting(POLL)
  await writeDurably(bench.pem, block)
  for (;;) {
    await bench.clock.waiting()
    const shortest = bench.clock.pending()[0] ?? 0
    assert.ok(shortest <= POLL)
    if (shortest <= SETTLED) break
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(bench.clock.monotonicMs() === 0, 'no time had to pass to notice')
  await bench.clock.advance(SETTLED)
  assert.equal(await Promise.race([issued, keepSettling(bench.clock)]), block)
})

/** More events of one write may follow and start the short wait anew. */
async function keepSettling(clock: ReturnType<typeof createFakeClock>): Promise<never> {
  for (;;) {
    await clock.waiting()
    await clock.advance(SETTLED)
  }
}

test('a file that is still being written is not taken, and neither is its first half', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeFile(bench.pem, block + block.slice(0, 30))
  const issued = bench.issuer.issue(request, within())
  await bench.clock.waiting(SETTLED_OPEN)
  await appendFile(bench.pem, block.slice(30))
  assert.equal(await Promise.race([issued, keepSettling(bench.clock)]), block + block)
})

test('a file that never becomes whole is given in the end, so that it is refused aloud', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeFile(bench.pem, 'junk')
  const issued = bench.issuer.issue(request, within())
  await bench.clock.waiting(SETTLED_OPEN)
  await bench.clock.advance(SETTLED_OPEN)
  assert.equal(await Promise.race([issued, keepSettling(bench.clock)]), 'junk')
})

test('a refused file is set aside under a name that says why', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeFile(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await bench.issuer.received(request, refused)
  const [name = '', ...others] = await readdir(bench.issuedDir)
  assert.match(name, /^edge-0042\.pem\.refused-CHAIN_KEY_MISMATCH-/)
  assert.deepEqual(others, [])
  assert.equal(await readFile(join(bench.issuedDir, name), 'utf8'), block)
  assert.deepEqual(bench.warnings, [])
})

test('a refused file that is laid down once more is judged once more, and does not pile up', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  const names = new Set<string>()
  for (let time = 1; time <= 3; time += 1) {
    await writeDurably(bench.pem, block)
    assert.equal(await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)]), block)
    await bench.issuer.received(request, refused)
    bench.clock.stepWall(3_600_000)
    for (const name of await readdir(bench.issuedDir)) names.add(name)
  }
  assert.equal(names.size, 1)
  assert.deepEqual(bench.warnings, [])
})

test('a refused file that cannot be moved is warned of and left alone, until it is taken away and laid down anew', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeDurably(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await bench.issuer.received(request, refused)
  // A folder with content under the name that it gets: not even root can rename over that.
  const [name = ''] = await readdir(bench.issuedDir)
  await rm(join(bench.issuedDir, name))
  await mkdir(join(bench.issuedDir, name, 'taken'), { recursive: true })
  await writeDurably(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await bench.issuer.received(request, refused)
  assert.equal(bench.warnings.length, 1)
  const stop = new AbortController()
  const waiting = bench.issuer.issue(request, stop.signal)
  for (let time = 1; time <= 5; time += 1) {
    await bench.clock.waiting(POLL)
    await bench.clock.advance(POLL)
  }
  stop.abort()
  await assert.rejects(waiting)
  await rm(bench.pem)
  const issued = bench.issuer.issue(request, within())
  await bench.clock.waiting(POLL)
  await writeDurably(bench.pem, block)
  assert.equal(await Promise.race([issued, keepSettling(bench.clock)]), block)
})

test('a postponed chain stays where it is and is given again in a minute', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeDurably(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  const before = bench.clock.monotonicMs()
  await bench.issuer.received(request, { outcome: 'postponed', problems })
  const issued = bench.issuer.issue(request, within())
  const passing = async (): Promise<never> => {
    for (;;) {
      await bench.clock.waiting()
      await bench.clock.advance(SETTLED)
    }
  }
  assert.equal(await Promise.race([issued, passing()]), block)
  const waitedMs = bench.clock.monotonicMs() - before
  assert.ok(waitedMs >= 60_000 && waitedMs <= 60_000 + POLL, `${waitedMs} ms`)
  assert.deepEqual(await readdir(bench.issuedDir), ['edge-0042.pem'])
})

test('in the place of a postponed chain another one is given at once', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeDurably(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await bench.issuer.received(request, { outcome: 'postponed', problems })
  const before = bench.clock.monotonicMs()
  await writeDurably(bench.pem, block + block)
  assert.equal(await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)]), block + block)
  assert.ok(bench.clock.monotonicMs() - before < POLL)
})

test('a file that was replaced while the old one was judged is not set aside', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeFile(bench.pem, 'old')
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await writeDurably(bench.pem, block)
  await bench.issuer.received(request, refused)
  assert.equal(await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)]), block)
})

test('an accepted chain leaves neither request nor chain behind', async () => {
  await using bench = await setUp()
  await mkdir(bench.issuedDir, { recursive: true })
  await writeFile(bench.pem, block)
  await Promise.race([bench.issuer.issue(request, within()), keepSettling(bench.clock)])
  await bench.issuer.received(request, { outcome: 'accepted' })
  assert.deepEqual([await readdir(bench.requestsDir), await readdir(bench.issuedDir)], [[], []])
})

test('a folder in the place of the file is warned of or waited out, and the file is taken once it is there', async () => {
  await using bench = await setUp()
  await mkdir(bench.pem, { recursive: true })
  const issued = bench.issuer.issue(request, within())
  await bench.clock.waiting(POLL)
  await rm(bench.pem, { recursive: true })
  await writeDurably(bench.pem, block)
  assert.equal(await Promise.race([issued, keepSettling(bench.clock)]), block)
})

test('a registration ID that would leave the folder is refused', async () => {
  await using bench = await setUp()
  for (const registrationId of ['../x', 'a/b', '', '.', '..', '.hidden']) {
    await assert.rejects(bench.issuer.issue({ ...request, registrationId }, within()), { code: 'CONFIG_INVALID' })
  }
})
