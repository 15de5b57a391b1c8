/**
 * What every issuer must do, and each of them does: the same story, whoever turns the request into a chain. What only those do that
 * wait for a person or a server stands apart.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { eventually } from '../kit/device.ts'
import { pkcs7Of, startEstServer } from '../kit/est-server.ts'
import type { EstServer } from '../kit/est-server.ts'
import { calm } from './agent-kit.ts'
import { bootUnit, ended, homeOf, reported, requestOf, startBed, steady, wish } from './transition-kit.ts'
import type { Bed, ReportedAuth, Unit, UnitOptions } from './transition-kit.ts'
import { assertOneAtATime, sessionsOf } from './transition-record.ts'

/** One issuer under test. */
interface Subject {
  /** As the twin calls it. */
  readonly issuedBy: string
  /** What its device is configured with. */
  options(bed: Bed, id: string): Promise<UnitOptions>
  /** Who brings the first certificate, where that is another. */
  readonly firstBy?: string
  /** Brings a chain to the device by the way of this issuer; left out where Azure issues it, and nobody signs in between. */
  readonly bring?: (unit: Unit, chain: string) => Promise<void>
  /** It makes the request anew where another kind of key is wanted: no person has it in their hands. */
  readonly remakes?: true
  /** It needs a session, which a device with an expired certificate does not get. */
  readonly needsSession?: true
  /** Ends what was begun for the devices. */
  close?(): Promise<void>
}

const HOUR_MS = 3_600_000

/** What Azure issues certificates by. */
const POLICY = 'an-hour'

const spoolOf = ({ folder }: Bed, id: string) => join(folder, `${id}.spool`)

/** A file that whoever reads it sees whole. */
async function lay(path: string, content: string): Promise<void> {
  await writeFile(`${path}.part`, content, { mode: 0o755 })
  await rename(`${path}.part`, path)
}

/** The server of EST that all devices of a bed ask, and what it has for each of them by now. */
let est: EstServer | undefined
const enrolled = new Map<string, string>()

/** It knows a device by its user name, and later by its certificate; who has nothing yet is to come again. */
async function startEst({ cloud, folder }: Bed): Promise<EstServer> {
  return startEstServer(folder, cloud.authority.root, async ({ operation, authorization, shown }) => {
    if (operation === 'cacerts')
      return { status: 200, body: await pkcs7Of(folder, cloud.authority.root.certificatePem) }
    if (operation === 'csrattrs') return { status: 204 }
    const [user = ''] = Buffer.from(authorization?.replace(/^Basic /, '') ?? '', 'base64')
      .toString()
      .split(':')
    const chain = enrolled.get(shown ?? user)
    if (chain === undefined) return { status: 202, headers: { 'retry-after': '1' } }
    return { status: 200, body: await pkcs7Of(folder, chain) }
  })
}

const subjects: Readonly<Record<string, Subject>> = {
  'the folder': {
    issuedBy: 'folder',
    options: () => Promise.resolve({}),
    async bring({ device, id }, chain) {
      await mkdir(join(device.stateDir, 'issued'), { recursive: true, mode: 0o700 })
      await lay(join(device.stateDir, 'issued', `${id}.pem`), chain)
    },
  },
  'the session with the hub': {
    issuedBy: 'folder',
    needsSession: true,
    options: () => Promise.resolve({}),
    async bring({ bed, id }, chain) {
      await bed.cloud.hub.invokeMethod(id, {
        name: 'installCertificate',
        payload: { chain },
        responseTimeoutSeconds: 30,
      })
    },
  },
  'a program': {
    issuedBy: 'command',
    async options(bed, id) {
      const spool = spoolOf(bed, id)
      await mkdir(spool)
      // An authority that signs later: until then it has nothing, and says so.
      await lay(join(spool, 'sign'), `#!/bin/sh\ncat >'${spool}/request'\ncat '${spool}/chain'\n`)
      return { toml: `[issuer]\nkind = "command"\nprogram = ["${join(spool, 'sign')}"]\n` }
    },
    bring: ({ bed, id }, chain) => lay(join(spoolOf(bed, id), 'chain'), chain),
  },
  'an EST server': {
    issuedBy: 'est',
    remakes: true,
    async options(bed, id) {
      est ??= await startEst(bed)
      const passwordFile = join(bed.folder, `${id}.password`)
      await writeFile(passwordFile, 'of its own\n', { mode: 0o600 })
      const server = `server = "${est.url}"\ncaFile = "${bed.cloud.authority.root.certificatePath}"\n`
      return {
        toml: `[issuer]\nkind = "est"\n[issuer.est]\n${server}user = "${id}"\npasswordFile = "${passwordFile}"\n`,
      }
    },
    bring({ id }, chain) {
      enrolled.set(id, chain)
      return Promise.resolve()
    },
    async close() {
      await est?.[Symbol.asyncDispose]()
      est = undefined
    },
  },
  DPS: { issuedBy: 'dps', options: () => Promise.resolve({ toml: '[issuer]\nkind = "dps"\n' }) },
  'the credentials of the hub': {
    ...{ issuedBy: 'hub-credentials', firstBy: 'dps' },
    options: () => Promise.resolve({ toml: '[issuer]\nkind = "hub-credentials"\n' }),
  },
}

type Certificate = { readonly thumbprintSha256: string; readonly issuedBy: string }
const certificateOf = ({ certificate }: ReportedAuth) => certificate as unknown as Certificate

/** Lets the time pass that the issuer and the agent want, until something has come to pass. */
async function until(unit: Unit, fits: () => boolean | Promise<boolean>): Promise<void> {
  let advancedMs = performance.now()
  await eventually(async () => {
    if (await fits()) return true
    // What is on its way needs real time, or every deadline would pass before it arrives.
    if (performance.now() - advancedMs < 15) return undefined
    advancedMs = performance.now()
    const next = unit.clock.pending()[0]
    if (next !== undefined) await unit.clock.advance(Math.min(next, 5_000))
    return undefined
  })
}

/** The agent has taken a chain: nothing is left to sign. */
const taken = (unit: Unit) => until(unit, async () => !(await unit.device.has(`requests/${unit.id}.csr`)))

for (const [name, subject] of Object.entries(subjects)) {
  describe(`certificates by way of ${name}`, () => {
    let bed: Bed
    before(async () => {
      if (subject.bring !== undefined) {
        bed = await startBed()
        return
      }
      bed = await startBed({}, { credentialPolicyName: POLICY })
      await bed.cloud.namespace.putPolicy(POLICY, { validitySeconds: HOUR_MS / 1000, backdatedSeconds: 0 })
    })
    afterEach(() => calm(bed.cloud))
    after(async () => {
      await subject.close?.()
      await bed[Symbol.asyncDispose]()
    })

    const boot = async (id: string) => bootUnit(bed, id, await subject.options(bed, id))
    const validity = () => ({ notBefore: new Date(bed.now()), notAfter: new Date(bed.now() + HOUR_MS) })

    /** Has the device get the certificate that it asks for: one request, other than `before`, and a chain for it. */
    async function give(unit: Unit, before?: string): Promise<string | undefined> {
      if (subject.bring === undefined) return undefined
      const request = await eventually(async () => {
        const found = await requestOf(unit)
        return found === before ? undefined : found
      })
      await subject.bring(unit, await bed.cloud.authority.signDevice(request, validity()))
      await taken(unit)
      return request
    }

    /** The device gets a chain for the key of somebody else, and says so. */
    async function mislead(unit: Unit, version: number): Promise<void> {
      if (subject.bring === undefined) {
        assert.equal((await ended(unit, version)).lastAttempt?.code, 'CHAIN_KEY_MISMATCH')
        await steady(unit)
        return
      }
      const request = await requestOf(unit)
      const { chainPem } = await bed.cloud.authority.makeDevice(unit.id)
      await subject.bring(unit, chainPem)
      await until(unit, () => unit.agent().journal.text().includes('CHAIN_KEY_MISMATCH') || name.includes('session'))
      assert.equal(await requestOf(unit), request)
    }

    test('a SAS device is certified, proves itself, and says who brought the certificate', async () => {
      await using unit = await boot('first')
      const version = wish(unit, { mode: 'x509' })
      await give(unit)
      const auth = await ended(unit, version)
      assert.deepEqual([auth.mode, auth.lastAttempt?.result], ['x509', 'active'])
      assert.equal(certificateOf(auth).issuedBy, subject.firstBy ?? subject.issuedBy)
    })

    test('a chain for another key does not count, the device stays as it is, and the right one is still taken', async () => {
      await using unit = await boot('second')
      if (subject.bring === undefined) bed.cloud.faults.set('issuedChain', 'otherKey')
      const version = wish(unit, { mode: 'x509' })
      await mislead(unit, version)
      assert.equal((await reported(unit, () => true)).mode, 'sas')
      calm(bed.cloud)
      // Who waits for a chain waits on; Azure is asked again.
      const now = subject.bring === undefined ? wish(unit, { mode: 'x509', renew: 'again' }) : version
      await give(unit)
      assert.equal((await ended(unit, now)).mode, 'x509')
    })

    const { bring } = subject
    if (bring !== undefined) whileItWaits(bring)

    function whileItWaits(bring: NonNullable<Subject['bring']>): void {
      test('a restart while the chain is awaited changes nothing of the request', async () => {
        await using unit = await boot('third')
        const version = wish(unit, { mode: 'x509' })
        const request = await requestOf(unit)
        await unit.agent().stop()
        unit.boot()
        await unit
          .agent()
          .until(({ auth, connection }) => auth.state === 'awaitingCertificate' && connection.state === 'connected')
        assert.equal(await requestOf(unit), request)
        await bring(unit, await bed.cloud.authority.signDevice(request))
        await taken(unit)
        assert.equal((await ended(unit, version)).mode, 'x509')
      })

      test(`with another keyType the request that waits is ${subject.remakes === true ? 'made anew' : 'kept'}`, async () => {
        const { toml = '', ...more } = await subject.options(bed, 'sixth')
        await using unit = await bootUnit(bed, 'sixth', { ...more, toml })
        const version = wish(unit, { mode: 'x509' })
        const request = await requestOf(unit)
        await unit.agent().stop()
        await unit.device.configure(`${toml}[auth.x509]\nkeyType = "ec-p384"\n`)
        unit.boot()
        const waiting = await eventually(async () => {
          const found = await requestOf(unit)
          return (found === request) === (subject.remakes === true) ? undefined : found
        })
        await unit
          .agent()
          .until(({ auth, connection }) => auth.state === 'awaitingCertificate' && connection.state === 'connected')
        assert.equal(await requestOf(unit), waiting)
        await bring(unit, await bed.cloud.authority.signDevice(waiting))
        await taken(unit)
        await ended(unit, version)
      })
    }

    const pastExpiry = async () => {
      await using unit = await boot('fifth')
      const version = wish(unit, { mode: 'x509' })
      const request = await give(unit)
      const first = certificateOf(await ended(unit, version))
      await unit.agent().stop()
      bed.shift(2 * HOUR_MS)
      await unit.clock.advance(2 * HOUR_MS)
      unit.boot()
      await give(unit, request)
      const auth = await reported(unit, ({ lastAttempt }) => lastAttempt?.cause === 'expiry')
      assert.equal(auth.lastAttempt?.result, 'active')
      assert.notEqual(certificateOf(auth).thumbprintSha256, first.thumbprintSha256)
      assert.equal(certificateOf(auth).issuedBy, subject.firstBy ?? subject.issuedBy)
    }
    if (subject.needsSession !== true) test('past expiry the next certificate comes in the same way', pastExpiry)

    test('a renewal is of a new key, and the old certificate serves until the new one has proved itself', async () => {
      await using unit = await boot('fourth')
      const version = wish(unit, { mode: 'x509' })
      const request = await give(unit)
      const first = certificateOf(await ended(unit, version))
      await steady(unit)
      const again = wish(unit, { mode: 'x509', renew: 'once more' })
      if (subject.bring !== undefined)
        assert.equal((await reported(unit, ({ state }) => state === 'awaitingCertificate')).mode, 'x509')
      await give(unit, request)
      const auth = await ended(unit, again)
      assert.deepEqual([auth.mode, auth.lastAttempt?.result], ['x509', 'active'])
      assert.notEqual(certificateOf(auth).thumbprintSha256, first.thumbprintSha256)
      assert.equal(certificateOf(auth).issuedBy, subject.issuedBy)
      await steady(unit)
      assert.deepEqual(new Set(sessionsOf(unit)), new Set(['sas', 'x509']))
      assertOneAtATime(unit)
      const keys = await Promise.all([1, 2].map((number) => unit.device.read(`credentials/gen-000${number}/key.pem`)))
      assert.notEqual(keys[0], keys[1])
    })
  })
}

for (const name of ['a program', 'an EST server', 'DPS', 'the credentials of the hub']) {
  const subject = subjects[name]
  test(`by way of ${name}: a device whose key cannot be opened any more gets another certificate by itself`, async () => {
    assert.ok(subject !== undefined)
    await using _subject = { [Symbol.asyncDispose]: async () => subject.close?.() }
    await using bed = await startBed({}, subject.bring === undefined ? { credentialPolicyName: POLICY } : {})
    if (subject.bring === undefined)
      await bed.cloud.namespace.putPolicy(POLICY, { validitySeconds: HOUR_MS / 1000, backdatedSeconds: 0 })
    const secretFile = join(bed.folder, 'encryption-key')
    const laySecret = () => writeFile(secretFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    await laySecret()
    const { toml = '', ...more } = await subject.options(bed, 'seventh')
    const keys = `[auth.x509]\nkeyStore = "encrypted"\nencryptionKeyFile = "${secretFile}"\n`
    await using unit = await bootUnit(bed, 'seventh', { ...more, toml: `${toml}${keys}` })
    const sign = async (before?: string) => {
      if (subject.bring === undefined) return undefined
      const request = await eventually(async () => {
        const found = await requestOf(unit)
        return found === before ? undefined : found
      })
      await subject.bring(unit, await bed.cloud.authority.signDevice(request))
      return request
    }
    const version = wish(unit, { mode: 'x509' })
    const request = await sign()
    await until(unit, () => homeAuth(unit)?.mode === 'x509' && homeAuth(unit)?.state === 'active')
    const first = certificateOf(await ended(unit, version))
    await unit.agent().stop()

    await laySecret()
    unit.boot()
    let signed: Promise<unknown> | undefined
    await until(unit, async () => {
      if (signed === undefined && (await unit.device.read(`requests/${unit.id}.csr`).catch(() => request)) !== request)
        signed = sign(request)
      const auth = homeAuth(unit)
      return auth?.state === 'active' && certificateOf(auth).thumbprintSha256 !== first.thumbprintSha256
    })
    await signed
    assert.equal(homeAuth(unit)?.mode, 'x509')
    // No hub is asked by a device that has nothing to show.
    assert.doesNotMatch(unit.agent().journal.text(), /AUTH_NO_CERTIFICATE/)
  })
}

for (const [what, content, says] of [
  ['is empty', '', /issuer\.est\.caFile .* does not begin with a certificate in PEM/],
  ['holds something else', '<html>', /issuer\.est\.caFile .* does not begin with a certificate in PEM/],
  ['is not there', undefined, /issuer\.est\.caFile .* cannot be read: ENOENT/],
] as const)
  test(`an EST server is not talked to, and no password shown, where caFile ${what}: it would be trusted by any public root`, async () => {
    const subject = subjects['an EST server']
    assert.ok(subject !== undefined)
    await using _subject = { [Symbol.asyncDispose]: async () => subject.close?.() }
    await using bed = await startBed()
    const { toml = '' } = await subject.options(bed, 'eighth')
    const caFile = join(bed.folder, 'est-ca.pem')
    if (content !== undefined) await writeFile(caFile, content)
    const changed = toml.replace(bed.cloud.authority.root.certificatePath, caFile)
    assert.ok(changed.includes(caFile))
    await using unit = await bootUnit(bed, 'eighth', { toml: changed })
    wish(unit, { mode: 'x509' })
    await until(unit, () => unit.agent().journal.text().includes('ISSUER_SECRET_UNUSABLE'))
    assert.match(unit.agent().journal.text(), says)
    assert.deepEqual(est?.calls, [])
    assert.equal((await reported(unit, () => true)).mode, 'sas')
  })

const homeAuth = (unit: Unit) => homeOf(unit.bed, unit.id).twin(unit.id)?.reported['auth'] as ReportedAuth | undefined
