import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { OnLoadResult, Plugin } from 'esbuild'

/** A module of a package that the bundle does not take as it is. */
interface Row {
  /** Its place below the innermost node_modules. */
  readonly module: string
  readonly why: string
  /** What stands in its place, made from its own text; a module that fails loudly when left out. */
  readonly instead?: (source: string) => string
}

/** Only what machina calls. */
const LODASH =
  'cloneDeep defaults difference each extend filter includes isArray isPlainObject merge transform without'.split(' ')

/** What docs/performance.md says about the size of the bundle and of the process comes from here. */
export const rows: readonly Row[] = [
  {
    module: 'mqtt-packet/mqtt.js',
    why: 'keeps a buffer for each of the 65,536 packet identifiers, 8.4 MB and 70 ms of start; made anew they cost nothing',
    instead: (source) => `${source}\nexports.writeToStream.cacheNumbers = false\n`,
  },
  {
    module: 'lodash/lodash.js',
    why: 'machina needs twelve functions of it',
    instead: () => `module.exports = { ${LODASH.map((name) => `${name}: require('lodash/${name}')`).join(', ')} }\n`,
  },
  {
    module: 'getos/index.js',
    why: 'runs lsb_release before the first connection, and brings async; scripts/os-release.cjs reads /etc/os-release',
    instead: () => `module.exports = require('../../scripts/os-release.cjs')\n`,
  },
  { module: 'azure-iot-device/dist/blob_upload/index.js', why: 'only for file upload' },
  { module: 'azure-iot-device/dist/module_client.js', why: 'only for modules of IoT Edge' },
  { module: 'azure-iot-device/dist/device_method/method_client.js', why: 'only for modules of IoT Edge' },
  { module: 'azure-iot-device/dist/iotedge_authentication_provider.js', why: 'only for modules of IoT Edge' },
  { module: 'azure-iot-device/dist/twin.js', why: 'hub/twin-transport.ts speaks twin itself; brings es-abstract' },
  { module: 'azure-iot-provisioning-device/dist/tpm_registration.js', why: 'only for TPM attestation' },
  { module: 'mqtt/lib/connect/ws.js', why: 'wire/ opens the socket; brings ws' },
  { module: 'mqtt/lib/connect/wx.js', why: 'wire/ opens the socket' },
  { module: 'mqtt/lib/connect/ali.js', why: 'wire/ opens the socket' },
  { module: 'mqtt/lib/topic-alias-send.js', why: 'MQTT 5 only; brings lru-cache and number-allocator' },
  { module: 'mqtt/lib/unique-message-id-provider.js', why: 'not the default; brings js-sdsl' },
  { module: 'pino/lib/transport.js', why: 'system/log.ts writes by itself; brings worker threads' },
  { module: 'pino/lib/multistream.js', why: 'system/log.ts writes by itself' },
  { module: 'sonic-boom/index.js', why: 'system/log.ts writes by itself; brings node:assert' },
  {
    module: 'pino/lib/tools.js',
    why: 'loads node:worker_threads to ask whether this is the main thread, which it is',
    instead: (source) =>
      replaceOnce(source, "const { isMainThread } = require('worker_threads')", 'const isMainThread = true'),
  },
]

/**
 * Puts the rows in place.
 *
 * @param whole the whole agent is bundled: a row that then fits no module fails the build, for its package has changed
 */
export function slim(whole: boolean): Plugin {
  const met = new Set<Row>()
  return {
    name: 'slim',
    setup(build) {
      build.onLoad({ filter: /\/node_modules\// }, async ({ path }): Promise<OnLoadResult | undefined> => {
        const module = path.slice(path.lastIndexOf('/node_modules/') + '/node_modules/'.length)
        const row = rows.find((each) => each.module === module)
        if (row === undefined) return undefined
        met.add(row)
        const contents = row.instead?.(await readFile(path, 'utf8')) ?? leftOut(row)
        return { contents, loader: 'js', resolveDir: dirname(path) }
      })
      build.onEnd(() => {
        const missed = whole ? rows.filter((row) => !met.has(row)) : []
        return { errors: missed.map(({ module }) => ({ text: `scripts/slim.ts: nothing imports ${module}` })) }
      })
    },
  }
}

/** A module whose every export is a function, or a class, that throws when it is called or made. */
export function leftOut({ module, why }: Pick<Row, 'module' | 'why'>): string {
  const text = JSON.stringify(`${module} is not part of this program (${why})`)
  return `function leftOut() { throw new Error(${text}) }
const own = (name) => typeof name === 'symbol' || name === 'prototype'
module.exports = new Proxy(leftOut, { get: (target, name) => (own(name) ? target[name] : leftOut) })
`
}

function replaceOnce(source: string, from: string, to: string): string {
  const [before, after, ...more] = source.split(from)
  if (before === undefined || after === undefined || more.length > 0) throw new Error(`not there exactly once: ${from}`)
  return before + to + after
}
