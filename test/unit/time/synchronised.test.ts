import assert from 'node:assert/strict'
import { chmod, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSynchronisation } from '../../../agent/time/synchronised.ts'
import type { Synchronisation } from '../../../agent/time/synchronised.ts'
import { createFakeClock } from '../../kit/clock.ts'
import type { FakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

interface System extends AsyncDisposable {
  readonly clock: FakeClock
  readonly synchronisation: Synchronisation
  ask(): Promise<boolean | undefined>
  /** What systemd-timesyncd does when it has synchronised the clock. */
  touch(atMs?: number): Promise<void>
  removeFlag(): Promise<void>
  /** Puts a program in the place of timedatectl; the text is that of a shell script. */
  install(script: string): Promise<void>
  /** With which arguments the program was started, a line each time. */
  starts(): Promise<readonly string[]>
}

async function makeSystem(): Promise<System> {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock()
  const file = (name: string) => join(folder.path, name)
  const synchronisation = createSynchronisation({ clock, flagFile: file('flag'), program: file('timedatectl') })
  return {
    ...{ clock, synchronisation },
    ask: () => synchronisation.ask(AbortSignal.timeout(20_000)),
    async touch(atMs = clock.now()) {
      await writeFile(file('flag'), '')
      await utimes(file('flag'), atMs / 1000, atMs / 1000)
    },
    removeFlag: () => rm(file('flag')),
    async install(script) {
      await writeFile(file('timedatectl'), `#!/bin/sh\necho "$*" >>'${file('starts')}'\n${script}\n`)
      await chmod(file('timedatectl'), 0o755)
    },
    async starts() {
      const text = await readFile(file('starts'), 'utf8').catch(() => '')
      return text.split('\n').filter((line) => line !== '')
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('a system without any of it has no answer', async () => {
  await using system = await makeSystem()
  assert.equal(await system.ask(), undefined)
})

test('the flag of timesyncd is enough, and no process is started', async () => {
  await using system = await makeSystem()
  await system.install('echo no')
  await system.touch()
  assert.equal(await system.ask(), true)
  assert.deepEqual(await system.starts(), [])
})

test('the flag counts for as long as the kernel would believe the clock after the last success', async () => {
  await using system = await makeSystem()
  await system.touch()
  // 16 s of error at 500 ppm: 32,000 s.
  await system.clock.advance(32_000_000 - 1)
  assert.equal(await system.ask(), true)
  await system.clock.advance(1)
  assert.equal(await system.ask(), undefined)
})

test('a flag that is removed no longer counts', async () => {
  await using system = await makeSystem()
  await system.touch()
  assert.equal(await system.ask(), true)
  await system.removeFlag()
  assert.equal(await system.ask(), undefined)
})

test('a flag from the future does not count: the clock was set back since', async () => {
  await using system = await makeSystem()
  await system.touch(system.clock.now() + 6 * MINUTE)
  assert.equal(await system.ask(), undefined)
})

test('what was touched before the clock was set is void until it is touched again', async () => {
  await using system = await makeSystem()
  await system.touch()
  assert.equal(await system.ask(), true)
  system.clock.stepWall(HOUR)
  system.synchronisation.forget()
  assert.equal(await system.ask(), undefined)
  await system.touch()
  assert.equal(await system.ask(), true)
})

test('timedatectl is asked for the flag of the kernel, with these arguments', async () => {
  await using system = await makeSystem()
  await system.install('echo yes')
  assert.equal(await system.ask(), true)
  assert.deepEqual(await system.starts(), ['show --property=NTPSynchronized --value'])
})

const said: readonly (readonly [script: string, answer: boolean | undefined])[] = [
  ['echo yes', true],
  ['echo no', false],
  ['echo', undefined],
  ['echo maybe', undefined],
  ['echo yes; exit 1', undefined],
  ['echo "Failed to connect to bus" >&2; exit 1', undefined],
  // As seccomp ends a program.
  ['kill -SYS $$', undefined],
  ['yes yes | head -c 100000', undefined],
]

for (const [script, answer] of said) {
  test(`timedatectl as \`${script}\` means ${String(answer)}`, async () => {
    await using system = await makeSystem()
    await system.install(script)
    assert.equal(await system.ask(), answer)
  })
}

test('timedatectl that hangs is given up after two seconds', async () => {
  await using system = await makeSystem()
  await system.install('exec sleep 60')
  const beganMs = performance.now()
  assert.equal(await system.ask(), undefined)
  const tookMs = performance.now() - beganMs
  assert.ok(tookMs >= 1_900 && tookMs < 10_000, `${tookMs}`)
})

test('timedatectl sees nothing of the environment but where programs are', async () => {
  await using system = await makeSystem()
  process.env['CLOCK_TEST_SECRET'] = 'canary'
  await system.install('test -z "$CLOCK_TEST_SECRET" && echo yes')
  assert.equal(await system.ask(), true)
  delete process.env['CLOCK_TEST_SECRET']
})

test('a no is asked for again after a minute, a yes after ten', async () => {
  await using system = await makeSystem()
  const askFor = async (minutes: number) => {
    for (let second = 0; second < minutes * 60; second += 5) {
      await system.ask()
      await system.clock.advance(5_000)
    }
  }
  await system.install('echo no')
  await askFor(3)
  assert.equal((await system.starts()).length, 3)
  await system.install('echo yes')
  await askFor(20)
  assert.equal((await system.starts()).length, 3 + 2)
})

test('after the clock was set, the kernel is asked at once', async () => {
  await using system = await makeSystem()
  await system.install('echo yes')
  assert.equal(await system.ask(), true)
  await system.install('echo no')
  assert.equal(await system.ask(), true)
  system.synchronisation.forget()
  assert.equal(await system.ask(), false)
})

test('an aborted question rejects with the reason and leaves no process behind', async () => {
  await using system = await makeSystem()
  await system.install('exec sleep 60')
  const stop = new AbortController()
  const asked = system.synchronisation.ask(stop.signal)
  const reason = new Error('stopped')
  setImmediate(() => stop.abort(reason))
  await assert.rejects(asked, reason)
})
