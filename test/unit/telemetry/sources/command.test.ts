import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Failure } from '../../../../agent/failure.ts'
import { systemClock } from '../../../../agent/system/clock.ts'
import type { Clock } from '../../../../agent/system/clock.ts'
import type { Durability } from '../../../../agent/telemetry/outbox/port.ts'
import { PLAIN_LABEL } from '../../../../agent/telemetry/sample.ts'
import type { Sample } from '../../../../agent/telemetry/sample.ts'
import { programEnvironment } from '../../../../agent/system/run-program.ts'
import { createCommandSource } from '../../../../agent/telemetry/sources/command.ts'
import type { Command, CommandSourceOptions } from '../../../../agent/telemetry/sources/command.ts'
import { createFakeClock } from '../../../kit/clock.ts'

let folder = ''
before(async () => (folder = await mkdtemp(join(tmpdir(), 'command-'))))
after(() => rm(folder, { recursive: true }))

interface Appended {
  readonly samples: readonly Sample[]
  readonly durability: Durability
}

interface Watched extends AsyncDisposable {
  readonly appended: readonly Appended[]
  readonly failures: readonly Failure[]
  facts(): ReturnType<ReturnType<typeof createCommandSource>['facts']>
  /** Resolves when so many runs are over. */
  runs(count: number): Promise<void>
  /** Aborts, and resolves when the source has ended. */
  stop(): Promise<void>
}

/** Runs what a shell makes of the script, until disposed. */
function watch(script: string, more: Partial<Command> = {}, options: Partial<CommandSourceOptions> = {}): Watched {
  const clock: Clock = options.clock ?? systemClock
  const over = new AbortController()
  const appended: Appended[] = []
  const failures: Failure[] = []
  const source = createCommandSource({
    command: {
      ...{ name: 'meter', program: ['/bin/sh', '-c', script, 'sh', 'secret-argument'] },
      ...{ intervalSeconds: 3600, timeoutSeconds: 30, priority: 'telemetry', durability: 'written' },
      ...more,
    },
    clock,
    append: async (samples, durability) => void appended.push({ samples, durability }),
    stamp: () => ({ createdAtMs: 17 }),
    onFailure: (failure) => failures.push(failure),
    environment: process.env,
    ...options,
  })
  const ended = source.run(over.signal).catch((error: unknown) => error)
  const stop = async () => {
    const reason = new Error('stopping')
    over.abort(reason)
    assert.ok((await ended) instanceof Error)
  }
  return {
    ...{ appended, failures, stop },
    facts: () => source.facts(),
    runs: (count) => until(() => appended.length + failures.length >= count || source.facts().runs >= count),
    [Symbol.asyncDispose]: stop,
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** The failure of one run of the script. */
async function failureOf(script: string, more?: Partial<Command>): Promise<Failure> {
  await using source = watch(script, more)
  await source.runs(1)
  const [failure] = source.failures
  assert.ok(failure, 'the run did not fail')
  assert.equal(failure.code, 'SOURCE_FAILED')
  assert.equal(failure.context.command, 'meter')
  assert.ok(!failure.message.includes('secret-argument'))
  assert.deepEqual(source.appended, [])
  return failure
}

/** Whether the process still runs; one that nobody has reaped does not. */
function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

const pidIn = async (file: string) => Number(await readFile(file, 'utf8'))

test('what a program prints becomes samples as its configuration wants them', async () => {
  await using source = watch(`echo '{"a":1}'; echo '{"a":2}'`, {
    ...{ stream: 'energy', priority: 'alarm', durability: 'synced', component: 'meter1' },
  })
  await source.runs(1)
  assert.equal(source.failures.length, 0)
  const [{ samples, durability } = { samples: [], durability: undefined }] = source.appended
  assert.equal(durability, 'synced')
  assert.deepEqual(
    samples.map(({ stream, priority, createdAtMs, body, label }) => ({ stream, priority, createdAtMs, body, label })),
    ['{"a":1}', '{"a":2}'].map((body) => ({
      ...{ stream: 'energy', priority: 'alarm', createdAtMs: 17, body },
      label: { ...PLAIN_LABEL, component: 'meter1' },
    })),
  )
  assert.equal(new Set(samples.map(({ id }) => id)).size, 2)
})

test('the name of a command is its stream where no other is configured', async () => {
  await using source = watch(`echo '[{"a":1}]'`)
  await source.runs(1)
  assert.equal(source.appended[0]?.samples[0]?.stream, 'meter')
  assert.deepEqual(source.appended[0]?.samples[0]?.label, PLAIN_LABEL)
})

test('a program that prints nothing is fine and keeps nothing', async () => {
  await using source = watch(':')
  await source.runs(1)
  assert.deepEqual([source.appended, source.failures], [[], []])
  assert.deepEqual(source.facts(), { name: 'meter', runs: 1, failures: 0, failedInARow: 0 })
})

test('arguments go to the program as they are, without a shell', async () => {
  const program = ['/usr/bin/printf', '{"a":"%s"}', '$HOME;`id`*'] as const
  await using source = watch('', { program })
  await source.runs(1)
  assert.equal(source.appended[0]?.samples[0]?.body, '{"a":"$HOME;`id`*"}')
})

test('a program reads nothing and is led by a group of its own', async () => {
  await using source = watch(`read line; printf '{"read":"%s","leads":%s}' "$line" $(( $(ps -o pgid= -p $$) == $$ ))`)
  await source.runs(1)
  assert.equal(source.appended[0]?.samples[0]?.body, '{"read":"","leads":1}')
})

test('a program sees where programs are, its language and its home, and nothing else of the agent', async () => {
  const secrets = ['IOT_AGENT_AUTH_SAS_KEY', 'CERT_PATH', 'KEY_PATH', 'CREDENTIALS_DIRECTORY', 'NOTIFY_SOCKET']
  const own = { ...Object.fromEntries(secrets.map((name) => [name, 'secret'])), NODE_OPTIONS: '-r x', HOME: '/home/a' }
  await using source = watch(
    `env | cut -d= -f1 | sort | tr '\\n' ' ' | sed 's/.*/{"names":"&"}/'`,
    {},
    {
      environment: { ...own, PATH: process.env['PATH'] },
    },
  )
  await source.runs(1)
  assert.equal(source.appended[0]?.samples[0]?.body, '{"names":"HOME LANG PATH PWD "}')
  assert.deepEqual(programEnvironment({}), {
    ...{ PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
  })
})

test('an exit code is a failure with the last words of the program, made harmless', async () => {
  const { message } = await failureOf(`echo '{"a":1}'; printf 'no \\033[1mprobe\\n' >&2; exit 3`)
  assert.equal(message, 'the command meter ended with exit code 3: no [1mprobe')
})

test('of many words the last 4 KiB are kept', async () => {
  const { message } = await failureOf(`head -c 300000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1`)
  const words = message.replace('the command meter ended with exit code 1: ', '')
  assert.ok(words.endsWith('xEND'))
  // The line feed behind END is the last of the 4,096 bytes.
  assert.equal(words.length, 4095)
})

test('a signal, a program that is not there, one that may not run, and one that is no path are failures', async () => {
  assert.equal((await failureOf('kill -KILL $$')).message, 'the command meter was ended by SIGKILL')
  const start = async (file: string) => (await failureOf('', { program: [file, 'secret-argument'] })).message
  assert.equal(await start('/nowhere/probe'), 'the command meter cannot be started: /nowhere/probe (ENOENT)')
  assert.equal(await start('/etc'), 'the command meter cannot be started: /etc (EACCES)')
  assert.equal(await start('/bin/\0'), 'the command meter cannot be started: /bin/\0 (ERR_INVALID_ARG_VALUE)')
})

test('output that is not JSON is a failure, and none of it is kept', async () => {
  const { message } = await failureOf(`echo '{"a":1}'; echo secret-argument`)
  assert.equal(message, 'the command meter printed something that is no JSON object in line 2')
})

/** A script that prints one object, and line feeds up to so many bytes. */
function print(bytes: number): string {
  return `echo '{"a":1}'; head -c ${bytes - 8} /dev/zero | tr '\\0' '\\n'`
}

test('1 MiB of output is taken and a byte more is not', async () => {
  await using source = watch(print(1024 * 1024))
  await source.runs(1)
  assert.equal(source.appended[0]?.samples.length, 1)
  assert.equal((await failureOf(print(1024 * 1024 + 1))).message, 'the command meter printed more than 1048576 bytes')
})

test('a program that never stops printing is ended', async () => {
  const { message } = await failureOf(`while :; do echo '{"a":1}'; done`)
  assert.equal(message, 'the command meter printed more than 1048576 bytes')
})

test('a program that is late is told to end, and all it has started with it', async () => {
  const pidFile = join(folder, 'late')
  const clock = createFakeClock()
  await using source = watch(
    `sleep 600 & echo $! > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; wait`,
    {},
    { clock },
  )
  await until(() => existsSync(pidFile))
  await clock.advance(29_999)
  assert.equal(source.failures.length, 0)
  await clock.advance(1)
  await source.runs(1)
  assert.equal(source.failures[0]?.message, 'the command meter did not end within 30 s')
  const pid = await pidIn(pidFile)
  await until(() => !isAlive(pid))
})

test('one that does not listen is killed 2 s later', async () => {
  const pidFile = join(folder, 'deaf')
  const clock = createFakeClock()
  await using source = watch(
    `trap '' TERM; echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; while :; do sleep 600; done`,
    {},
    { clock },
  )
  await until(() => existsSync(pidFile))
  await clock.advance(30_000)
  await clock.advance(1_999)
  const pid = await pidIn(pidFile)
  assert.ok(isAlive(pid))
  assert.equal(source.failures.length, 0)
  await clock.advance(1)
  await source.runs(1)
  assert.equal(source.failures[0]?.message, 'the command meter did not end within 30 s')
  assert.ok(!isAlive(pid))
})

test('what a program leaves behind neither holds up its run nor lives on', async () => {
  const pidFile = join(folder, 'orphan')
  await using source = watch(`sleep 600 & echo $! > ${pidFile}; echo '{"a":1}'`)
  await source.runs(1)
  assert.equal(source.appended[0]?.samples.length, 1)
  const pid = await pidIn(pidFile)
  await until(() => !isAlive(pid))
})

test('what a program leaves behind does not live on either when it has let go of the output', async () => {
  const pidFile = join(folder, 'silent')
  await using source = watch(`sleep 600 >/dev/null 2>&1 & echo $! > ${pidFile}; echo '{"a":1}'`)
  await source.runs(1)
  assert.equal(source.appended[0]?.samples.length, 1)
  const pid = await pidIn(pidFile)
  await until(() => !isAlive(pid))
})

test('one that has left the group and holds the output does not hold up the run either', async () => {
  const pidFile = join(folder, 'escaped')
  await using source = watch(
    `setsid sh -c 'echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; exec sleep 600' & ` +
      `while [ ! -e ${pidFile} ]; do :; done; echo '{"a":1}'`,
  )
  await source.runs(1)
  assert.equal(source.appended[0]?.samples.length, 1)
  process.kill(await pidIn(pidFile), 'SIGKILL')
})

test('a stop ends the program within a second, and is no failure', async () => {
  const pidFile = join(folder, 'stopped')
  const source = watch(
    `trap '' TERM; echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; while :; do sleep 600; done`,
  )
  await until(() => existsSync(pidFile))
  const pid = await pidIn(pidFile)
  const sinceMs = performance.now()
  await source.stop()
  assert.ok(performance.now() - sinceMs < 1_000)
  await until(() => !isAlive(pid))
  assert.equal(source.failures.length, 0)
  assert.equal(source.facts().failures, 0)
})

test('a stop while a late program has its last 2 s does not wait for them', async () => {
  const pidFile = join(folder, 'both')
  const clock = createFakeClock()
  const source = watch(
    `trap '' TERM; echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; while :; do sleep 600; done`,
    {},
    { clock },
  )
  await until(() => existsSync(pidFile))
  const pid = await pidIn(pidFile)
  await clock.advance(30_000)
  const stopped = source.stop()
  await clock.advance(499)
  assert.ok(isAlive(pid))
  await clock.advance(1)
  await stopped
  assert.ok(!isAlive(pid))
  assert.equal(source.failures.length, 0)
})

test('failures are counted in all and in a row, and the last one stays known', async () => {
  const counter = join(folder, 'counter')
  const clock = createFakeClock()
  await using source = watch(
    `echo x >> ${counter}; n=$(wc -l < ${counter}); [ $n -eq 3 ] && echo '{"a":1}' && exit 0; exit $n`,
    { intervalSeconds: 60 },
    { clock },
  )
  const seen: (readonly number[])[] = []
  for (let run = 1; run <= 4; run += 1) {
    await until(() => source.facts().runs === run && clock.pending().includes(60_000))
    const { runs, failures, failedInARow } = source.facts()
    seen.push([runs, failures, failedInARow])
    await clock.advance(60_000)
  }
  assert.deepEqual(seen, [
    [1, 1, 1],
    [2, 2, 2],
    [3, 2, 0],
    [4, 3, 1],
  ])
  assert.match(source.facts().lastFailure?.message ?? '', /exit code [45]$/)
})

test('two runs never overlap: one that takes longer than its interval leaves the next ones out', async () => {
  const log = join(folder, 'overlap')
  const go = join(folder, 'go')
  const clock = createFakeClock()
  await using source = watch(
    `echo begin >> ${log}; while [ ! -e ${go} ]; do :; done; echo end >> ${log}`,
    { intervalSeconds: 1, timeoutSeconds: 3600 },
    { clock },
  )
  await until(() => existsSync(log))
  await clock.advance(10_500)
  assert.equal(await readFile(log, 'utf8'), 'begin\n')
  assert.equal(source.facts().runs, 0)
})

test('what cannot be kept is told as it is, and is no failure of the program', async () => {
  const full = new Error('no room')
  await using source = watch(`echo '{"a":1}'`, {}, { append: () => Promise.reject(full) })
  await until(() => source.failures.length === 1)
  assert.equal(source.failures[0]?.cause, full)
  assert.deepEqual(source.facts(), { name: 'meter', runs: 1, failures: 0, failedInARow: 0 })
})
