import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Failure } from '../../../agent/failure.ts'
import { createLog, withPriority } from '../../../agent/system/log.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeKey, makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

function openLog(level: 'debug' | 'info' | 'warn' | 'error' = 'info') {
  const lines: string[] = []
  const clock = createFakeClock(Date.UTC(2026, 4, 6, 7, 8, 9, 10))
  return { lines, log: createLog({ level, clock, write: (line) => lines.push(line) }) }
}

test('a line is one JSON object with level, time from the clock, message and fields', () => {
  const { lines, log } = openLog()
  log.info('connected', { assignedHub: 'hub-1' })
  assert.equal(lines.length, 1)
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    level: 'info',
    time: '2026-05-06T07:08:09.010Z',
    assignedHub: 'hub-1',
    msg: 'connected',
  })
})

test('the level can be changed while running', () => {
  const { lines, log } = openLog('warn')
  log.info('unseen')
  log.setLevel('info')
  log.info('seen')
  assert.equal(lines.length, 1)
  assert.equal(log.level(), 'info')
})

/** Source: sd-daemon(3): SD_ERR, SD_WARNING, SD_INFO, SD_DEBUG. */
const priorities = { error: 3, warn: 4, info: 6, debug: 7 } as const

test('each level has the priority that the journal knows it by', () => {
  for (const level of ['error', 'warn', 'info', 'debug'] as const) {
    const { lines, log } = openLog('debug')
    log[level]('seen', { level: 'of a field' })
    assert.equal(withPriority(lines[0] ?? ''), `<${priorities[level]}>${lines[0]}`)
  }
})

/** What a process logs whose stdout is a pipe; `stream` makes JOURNAL_STREAM out of its device and inode. */
async function loggedWith(stream: string): Promise<string> {
  const script = `
    import { fstatSync } from 'node:fs'
    const { dev, ino } = fstatSync(1)
    process.env.JOURNAL_STREAM = ${stream}
    const { createLog } = await import('${new URL('../../../agent/system/log.ts', import.meta.url).href}')
    const { createFakeClock } = await import('${new URL('../../kit/clock.ts', import.meta.url).href}')
    createLog({ level: 'info', clock: createFakeClock() }).warn('seen')`
  return (await run(process.execPath, ['--input-type=module', '-e', script])).stdout
}

test('a line has its priority where stdout is the journal, and nowhere else', async () => {
  assert.match(await loggedWith('`${dev}:${ino}`'), /^<4>\{"level":"warn".*\}\n$/)
  // Inherited by a program whose output goes elsewhere. Source: systemd.exec(5), JOURNAL_STREAM.
  assert.match(await loggedWith('`${dev}:${ino + 1}`'), /^\{"level":"warn".*\}\n$/)
})

test('each line of what is said at last is an error to the journal', async () => {
  const script = `
    import { fstatSync } from 'node:fs'
    const { dev, ino } = fstatSync(2)
    const { lastWords } = await import('${new URL('../../../agent/system/log.ts', import.meta.url).href}')
    const text = 'wrong:\\n\\n1. log.level\\n'
    process.stderr.write(lastWords(text))
    process.env.JOURNAL_STREAM = dev + ':' + ino
    process.stderr.write(lastWords(text))`
  const { stderr } = await run(process.execPath, ['--input-type=module', '-e', script])
  assert.equal(stderr, 'wrong:\n\n1. log.level\n<3>wrong:\n\n<3>1. log.level\n')
})

test('a failure is logged with its code, causes and what to do', () => {
  const { lines, log } = openLog()
  log.failure(new Failure('NETWORK_REFUSED', 'no answer', { cause: new Error('connect ECONNREFUSED') }))
  const line = JSON.parse(lines[0] ?? '')
  assert.equal(line.level, 'warn')
  assert.equal(line.code, 'NETWORK_REFUSED')
  assert.deepEqual(line.causes, ['Error: connect ECONNREFUSED'])
  assert.match(line.advice, /8883/)
})

test('no secret passes the sink, wherever it was put', async () => {
  await using folder = await makeTemporaryFolder()
  const keyPem = await readFile(await makeKey(join(folder.path, 'canary.key')), 'utf8')
  const body = keyPem.split('\n')[1] ?? ''
  const shared = 'Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5'
  const { lines, log } = openLog('debug')
  log.info(`in the message ${keyPem}`)
  log.info('in a field', { keyPem })
  log.info('deep in a field', { a: { b: [{ text: `x ${keyPem}` }] } })
  log.failure(new Failure('UNEXPECTED', 'in a cause', { cause: new Error(`bad key ${keyPem}`) }))
  log.info('a connection string', { text: `HostName=h;DeviceId=d;SharedAccessKey=${shared}` })
  log.info('a token', { text: `SharedAccessSignature sr=h&sig=${shared}&se=1` })
  log.info('a field that is called a secret', { symmetricKey: shared })
  log.info('a value with a quote in it', { password: `x"${shared}`, other: 'kept' })
  log.info(`an answer that is quoted ${JSON.stringify({ status: 'x', primaryKey: shared, other: 'kept' })}`)
  log.info(`the same with a quote in it ${JSON.stringify({ secret: `x"${shared}` })}`)
  const all = lines.join('')
  assert.equal(lines.length, 10)
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line)
  assert.match(lines[8] ?? '', /other.*kept/)
  assert.equal(JSON.parse(lines[7] ?? '').other, 'kept')
  assert.equal(all.includes(body), false)
  assert.equal(all.includes(shared), false)
})

test('a log that cannot be written ends nothing', async () => {
  const script = `
    import { createLog } from '${new URL('../../../agent/system/log.ts', import.meta.url).href}'
    import { systemClock } from '${new URL('../../../agent/system/clock.ts', import.meta.url).href}'
    const log = createLog({ level: 'info', clock: systemClock })
    log.info('nobody reads this')
    process.stderr.write('alive')`
  const { stderr } = await run('sh', [
    '-c',
    'exec "$0" --input-type=module-typescript -e "$1" >/dev/full',
    process.execPath,
    script,
  ])
  assert.equal(stderr, 'alive')
})
