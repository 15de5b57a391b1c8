import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { Script } from 'node:vm'
import { build } from 'esbuild'
import type { BuildOptions } from 'esbuild'
import { leftOut, rows, slim } from '../../scripts/slim.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

const root = new URL('../../', import.meta.url).pathname

/** The exports of CommonJS text. */
function evaluate(text: string): unknown {
  const module = { exports: {} as unknown }
  new Script(`(function (module) { ${text} })`).runInThisContext()(module)
  return module.exports
}

test('what is left out can be imported and compared with, and fails by name when it is called, made or extended', () => {
  type Left = (() => void) & { readonly Client: new () => object; readonly Base: new () => object }
  const module = evaluate(leftOut({ module: 'a/b.js', why: 'for nothing' })) as Left
  const reason = /a\/b\.js is not part of this program \(for nothing\)/
  assert.throws(() => module(), reason)
  assert.throws(() => new module.Client(), reason)
  assert.throws(() => new (class extends module.Base {})(), reason)
  assert.equal({} instanceof module.Client, false)
})

test('the bundle is the same bytes each time, and runs', async () => {
  await using folder = await makeTemporaryFolder()
  const files = ['a', 'b'].map((name) => join(folder.path, `${name}.cjs`))
  for (const file of files) execFileSync(process.execPath, [join(root, 'scripts/bundle.ts'), file])
  const [first, second] = files.map((file) => readFileSync(file))
  assert.ok(first !== undefined && second !== undefined && first.equals(second))
  const said = execFileSync(process.execPath, [files[0] ?? '', 'version']).toString()
  assert.match(said, /^iot-device-agent \d/)
})

test('a row that nothing imports any more fails the build of the whole agent', async () => {
  await using folder = await makeTemporaryFolder()
  const options: BuildOptions = {
    stdin: { contents: `require('mqtt')`, resolveDir: root },
    ...{ outfile: join(folder.path, 'x.cjs'), bundle: true, platform: 'node', logLevel: 'silent' },
  }
  await assert.rejects(build({ ...options, plugins: [slim(true)] }), /nothing imports getos/)
  await build({ ...options, plugins: [slim(false)] })
})

test('every function of lodash that the bundled packages call is in what takes its place', () => {
  const require = createRequire(join(root, 'package.json'))
  const row = rows.find(({ module }) => module === 'lodash/lodash.js')
  const present = new Set([...(row?.instead?.('') ?? '').matchAll(/lodash\/(\w+)/g)].map(([, name]) => name))
  const machina = readFileSync(require.resolve('machina'), 'utf8')
  const called = new Set([...machina.matchAll(/\b_\.(\w{2,})\(/g)].map(([, name]) => name))
  assert.ok(called.size > 5)
  assert.deepEqual(
    [...called].filter((name) => !present.has(name)),
    [],
  )
})

test('packets are the same bytes with and without the table of packet identifiers', () => {
  interface MqttPacket {
    readonly generate: (packet: object) => Buffer
    readonly writeToStream: { cacheNumbers: boolean }
  }
  const require = createRequire(createRequire(join(root, 'package.json')).resolve('mqtt'))
  const { generate, writeToStream } = require('mqtt-packet') as MqttPacket
  const packets = [0, 1, 0x1234, 0xffff].flatMap((messageId) => [
    { cmd: 'puback', messageId },
    { cmd: 'publish', topic: 'devices/edge-1/messages/events/', payload: '{}', qos: 1, messageId },
    { cmd: 'subscribe', messageId, subscriptions: [{ topic: '$iothub/twin/res/#', qos: 0 }] },
  ])
  const write = (cacheNumbers: boolean) => {
    writeToStream.cacheNumbers = cacheNumbers
    return packets.map((packet) => generate(packet).toString('hex'))
  }
  assert.deepEqual(write(false), write(true))
  assert.equal(generate({ cmd: 'puback', messageId: 0x1234 }).toString('hex'), '40021234')
})

test('the name of the system comes from os-release', () => {
  const require = createRequire(import.meta.url)
  const getOs = require('../../scripts/os-release.cjs') as (
    done: (error: Error | null, os?: { dist: string; release: string }) => void,
  ) => void
  const given: unknown[] = []
  getOs((error, os) => given.push(error, os?.dist))
  const name = /^NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  assert.deepEqual(given, [null, name])
})
