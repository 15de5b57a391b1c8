/** A device whose process is killed at a step of the disk or of the cloud, again and again, and what it comes back to. */
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Cloud } from '../cloud/cloud.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import type { RecordedEvent } from '../cloud/record.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { sourceProgram } from '../kit/program.ts'
import type { AgentProcess, Program } from '../kit/program.ts'
import { atHub, deviceOf, eventsOf, seen } from './agent-kit.ts'

/** Steps of the disk, one a line, as test/kit/disk-steps.ts tells them: `after state/credentials/active`. Or what the cloud sees. */
export type KillPoint = string | ((event: RecordedEvent) => boolean)

/** The part of the twin in which a device tells about its credentials. */
export interface ReportedAuth {
  readonly mode: 'sas' | 'x509'
  readonly state: string
  readonly lastAttempt?: {
    readonly version?: number
    readonly cause: string
    readonly result: string
    readonly code?: string
  }
  readonly certificate?: { readonly thumbprintSha256: string }
  readonly fallback: { readonly active: boolean }
  readonly sas: { readonly available: boolean; readonly retired: boolean }
}

/** One device over the many lives of its process. */
export interface Mortal extends AsyncDisposable {
  readonly device: Device
  readonly keyFile: string
  /** Starts the agent, whose life before must be over. */
  start(): AgentProcess
  /** The agent that runs, or that is started next, dies at this point. */
  doom(point: KillPoint): void
  /** Resolves when the agent has died at its point. */
  killed(): Promise<void>
  /** Ends the agent at this moment. */
  kill(): Promise<void>
  /** A desired change of the section `auth`; its `$version` comes back. */
  wish(auth: Readonly<Record<string, unknown>>): number
  /** What the twin tells, once it fits. */
  told(fits: (auth: ReportedAuth) => boolean): Promise<ReportedAuth>
  /** Signs the request that is laid out, as whoever serves the folder does. */
  sign(): Promise<void>
  /** Registrations that DPS has carried out since an event. */
  registrations(since: number): number
  /** Asserts that the device sends over one session, with the credential that twin, pointer and vault name. */
  atHome(auth: ReportedAuth, since: number): Promise<void>
}

const deadly: Program = [
  sourceProgram[0],
  '--import',
  fileURLToPath(new URL('../kit/killed.ts', import.meta.url)),
  ...sourceProgram.slice(1),
]

/** An agent that has not met its point by then never will. */
const DIES_WITHIN_MS = 20_000

/** A device with a SAS key; @param toml its configuration */
export async function makeMortal(cloud: Cloud, fleet: SasFleet, id: string, toml: string): Promise<Mortal> {
  const folder = await makeTemporaryFolder()
  const keyFile = join(folder.path, 'secrets', 'sas.key')
  const armed = join(folder.path, 'kill-at')
  const environment = {
    ...{ IOT_AGENT_SAS_KEY_FILE: keyFile, KILL_BELOW: folder.path, KILL_AT: armed },
    PATH: `${await putTimedatectl(folder.path)}:${process.env['PATH'] ?? ''}`,
  }
  const device = await makeDevice(cloud, {
    ...{ registrationId: id, program: deadly, toml, folder: folder.path, environment },
  })
  await mkdir(join(folder.path, 'secrets'), { mode: 0o700 })
  await fleet.writeKey(keyFile, id)
  await writeFile(armed, '')
  let agent: AgentProcess | undefined
  let alive = false
  let fatal: KillPoint = ''
  const forget = cloud.record.listen((event) => {
    if (typeof fatal === 'function' && deviceOf(event) === id && fatal(event)) agent?.kill()
  })
  const reported = () => cloud.hub.twin(id)?.reported['auth'] as ReportedAuth | undefined

  const mortal: Mortal = {
    ...{ device, keyFile },
    start() {
      assert.ok(!alive, 'the agent of the life before has ended')
      agent = device.start()
      alive = true
      return agent
    },
    doom(point) {
      fatal = point
      writeFileSync(armed, typeof point === 'string' ? point : '')
    },
    async killed() {
      const said = () => agent?.journal.text()
      const late = Promise.withResolvers<never>()
      const timer = setTimeout(() => late.reject(new Error(`it lives on:\n${said()}`)), DIES_WITHIN_MS)
      const status = await Promise.race([agent?.ended, late.promise]).finally(() => clearTimeout(timer))
      assert.equal(status, null, `the agent has ended by itself:\n${said()}`)
      alive = false
      mortal.doom('')
    },
    async kill() {
      agent?.kill()
      await mortal.killed()
    },
    wish: (auth) => cloud.hub.patchTwin(id, { desired: { auth } }).desiredVersion,
    async told(fits) {
      const fit = () => {
        const auth = reported()
        return auth !== undefined && fits(auth) ? auth : undefined
      }
      const since = cloud.record.seq() - 1
      await cloud.record
        .waitFor(() => fit() !== undefined, { since, withinMs: 20_000 })
        .catch((cause: unknown) => {
          throw new Error(`the twin tells ${JSON.stringify(reported())}:\n${agent?.journal.text()}`, { cause })
        })
      return fit() ?? assert.fail('the twin has told it and takes it back')
    },
    async sign() {
      const chain = await cloud.authority.signDevice(await eventually(() => requestOf(device)))
      const path = join(device.stateDir, 'issued', `${id}.pem`)
      await writeFile(`${path}.part`, chain)
      await rename(`${path}.part`, path)
    },
    registrations: (since) => eventsOf(cloud, 'registered', id, since).length,
    async atHome({ mode, certificate }, since) {
      await seen(cloud, 'telemetry', id, { since })
      const session = eventsOf(cloud, 'connected', id, since).findLast(atHub(cloud))
      assert.equal(session?.auth, mode, 'the session is of the credential that the twin names')
      assert.equal(session?.thumbprint, certificate?.thumbprintSha256 ?? '')
      const [opened, closed] = (['connected', 'disconnected'] as const).map((kind) => eventsOf(cloud, kind, id).length)
      assert.equal((opened ?? 0) - (closed ?? 0), 1, 'no session is left from an earlier life')
      const pointer = (await device.read('credentials/active')).trimEnd()
      if (mode === 'sas') assert.equal(pointer, 'sas')
      else assert.equal(await thumbprintInVault(device, pointer), certificate?.thumbprintSha256)
    },
    async [Symbol.asyncDispose]() {
      forget()
      await device[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
  return mortal
}

/** A folder with a `timedatectl` that calls the clock synchronised, so that it is trusted. */
async function putTimedatectl(folder: string): Promise<string> {
  const bin = join(folder, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'timedatectl'), '#!/bin/sh\necho yes\n', { mode: 0o755 })
  return bin
}

/** SHA-256 of a leaf whose key lies beside it. */
async function thumbprintInVault(device: Device, generation: string): Promise<string> {
  const read = (name: string) => readFile(join(device.stateDir, 'credentials', generation, name), 'utf8')
  const leaf = new X509Certificate(await read('chain.pem'))
  assert.ok(leaf.checkPrivateKey(createPrivateKey(await read('key.pem'))), `the key of ${generation} is in the vault`)
  return leaf.fingerprint256.replaceAll(':', '')
}

/** The request that is laid out for the key that waits; a life before may have left an older one there. */
async function requestOf(device: Device): Promise<string | undefined> {
  const [laidOut, waiting] = await Promise.all(
    [`requests/${device.registrationId}.csr`, 'credentials/pending/request.csr'].map((name) =>
      device.read(name).catch(unlessAbsent),
    ),
  )
  return laidOut === waiting ? laidOut : undefined
}

function unlessAbsent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
