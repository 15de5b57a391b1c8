/** A signed repository, as the owner of a fleet keeps one: installed from, upgraded from, and refused once it was tampered with. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import type { Machine } from './kit/machine.ts'
import { olderPackage, presentPackage, versions } from './kit/packages.ts'
import { identity, property, tellOnFailure, UNIT } from './kit/unit.ts'

const call = promisify(execFile)
const script = fileURLToPath(new URL('../../scripts/apt-repository', import.meta.url))

/** Serves the files of a folder; the machine shares the loopback. */
async function serve(folder: string) {
  const server = createServer((request, response) => {
    readFile(join(folder, basename(request.url ?? ''))).then(
      (content) => response.end(content),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What scripts/apt-repository prints, with the places that a device sees: the key beside other keys of apt, the packages by HTTP. */
async function trust(machine: Machine, folder: string, url: string, sources: string): Promise<void> {
  const key = (await readFile(join(folder, 'key.gpg'))).toString('base64')
  await machine.shell(`rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
install -d /etc/apt/keyrings
echo '${key}' | base64 -d >/etc/apt/keyrings/${UNIT}.gpg`)
  const seen = sources.replace(`file:${folder}`, url).replace(join(folder, 'key.gpg'), `/etc/apt/keyrings/${UNIT}.gpg`)
  await machine.write(`/etc/apt/sources.list.d/${UNIT}.sources`, seen)
}

const installed = `dpkg-query -W -f '\${Version}' ${UNIT}`

test('a device installs and upgrades the agent from a signed repository', { timeout: 180_000 }, async (t) => {
  await using folder = await makeTemporaryFolder()
  const repository = join(folder.path, 'repository')
  await using served = await serve(repository)
  await using beside = await startCloudBeside('press-07')
  await using machine = await bootMachine({ suite: 'trixie' })
  tellOnFailure(t, machine)
  const { stdout: sources } = await call(script, [repository, 'new', await olderPackage()])
  await trust(machine, repository, served.url, sources)

  await t.test('installed by name it waits for a configuration, and with one it sends telemetry', async () => {
    await machine.shell(`apt-get update --quiet --error-on=any && apt-get install --yes --quiet ${UNIT}`)
    assert.equal(await machine.shell(installed), versions.older)
    assert.match(await property(machine, 'StatusText'), /^waiting for a configuration/)
    await beside.configure(machine)
    await beside.enrol(machine)
  })

  await t.test('an upgrade of the system upgrades the running agent, which goes on with its identity', async () => {
    const before = await identity(machine)
    const gpg = { env: { ...process.env, GNUPGHOME: `${repository}.keys` } }
    const listed = await call('gpg', ['--batch', '--with-colons', '--list-secret-keys'], gpg)
    const fingerprint = /^fpr:::::::::([^:]+):/m.exec(listed.stdout)?.[1] ?? ''
    await call(script, [repository, fingerprint, await presentPackage()], gpg)
    const since = beside.seq()
    await machine.shell('apt-get update --quiet --error-on=any && apt-get upgrade --yes --quiet')
    assert.equal(await machine.shell(installed), versions.present)
    await beside.nextTelemetry(since)
    assert.equal(await identity(machine), before)
    assert.equal(await property(machine, 'ActiveState'), 'active')
  })

  await t.test('a list that was changed after it was signed is refused, and the agent stays as it is', async () => {
    const list = join(repository, 'Packages')
    await writeFile(list, (await readFile(list, 'utf8')).replaceAll(/^Version: .*$/gm, 'Version: 99.0'))
    await call('gzip', ['-9nkf', list])
    // Without what it knows already, apt asks for the list itself.
    await machine.shell('rm -rf /var/lib/apt/lists')
    const update = await machine.run(['apt-get', 'update', '--quiet', '--error-on=any'])
    assert.notEqual(update.status, 0, update.stdout)
    assert.match(update.stdout + update.stderr, /Hash Sum mismatch|unexpected size/)
    await machine.shell('apt-get upgrade --yes --quiet')
    assert.equal(await machine.shell(installed), versions.present)
  })

  await t.test('a repository signed by another key is refused', async () => {
    const other = join(folder.path, 'other', 'repository')
    await call(script, [other, 'new', await presentPackage()])
    await using impostor = await serve(other)
    const seen = `/etc/apt/sources.list.d/${UNIT}.sources`
    await machine.shell(`sed -i 's#^URIs: .*#URIs: ${impostor.url}#' ${seen}`)
    const update = await machine.run(['apt-get', 'update', '--quiet', '--error-on=any'])
    assert.notEqual(update.status, 0)
    assert.match(update.stdout + update.stderr, /NO_PUBKEY|not signed|signature|OpenPGP/i)
  })
})
