/** The servers get certificates of another root: who trusts both goes on, who trusts the old one alone waits and loses nothing. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { eventually } from '../kit/device.ts'
import { bootUnit, startBed, steady } from './transition-kit.ts'
import type { Bed } from './transition-kit.ts'
import { sessionsOf } from './transition-record.ts'

let bed: Bed
before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())

/** It may fall back, and has what it would need for it. */
const x509First = {
  holds: ['sas', 'x509'],
  toml: '[auth]\nmode = "x509"\n[auth.fallback]\nenabled = true\nuntil = 2099-01-01\n',
} as const

test('a new root of the servers is taken over without a gap where tls.caFile has both, and a device that was late comes back', async () => {
  const { cloud, folder } = bed
  const next = await cloud.authority.nextServerSide()
  const [old, both] = [await readFile(cloud.caFile, 'utf8'), join(folder, 'both.pem')]
  await writeFile(both, old + next.serverRoot.certificatePem)
  const lateFile = join(folder, 'late.pem')
  await writeFile(lateFile, old)
  await using ready = await bootUnit(bed, 'roll-ready', {
    ...x509First,
    environment: { IOT_AGENT_CA_FILE: both },
  })
  await using late = await bootUnit(bed, 'roll-late', {
    ...x509First,
    environment: { IOT_AGENT_CA_FILE: lateFile },
  })
  cloud.presentServer(next.server)
  for (const unit of [ready, late]) {
    await unit.agent().stop()
    unit.boot()
  }
  await steady(ready)

  // It has a SAS key as well, and does not fall back for what is no refusal of its certificate.
  await eventually(() => Promise.resolve(late.agent().journal.text().includes('TLS_SERVER_UNTRUSTED') || undefined))
  assert.deepEqual(sessionsOf(late), ['x509'])
  await writeFile(lateFile, old + next.serverRoot.certificatePem)
  await late.agent().stop()
  late.boot()
  await steady(late)
  for (const unit of [ready, late]) assert.deepEqual(sessionsOf(unit), ['x509', 'x509'])
})
