/** A key in a PKCS#11 token under the real service, with what docs/keys.md says and nothing else opened. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import type { Machine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { rootWith } from './kit/roots.ts'
import { install, tellOnFailure, UNIT } from './kit/unit.ts'

const page = fileURLToPath(new URL('../../docs/keys.md', import.meta.url))

/** The part of a block of the page that a device with SoftHSM uses. */
async function fromPage(first: string): Promise<string> {
  const blocks = (await readFile(page, 'utf8')).split('```')
  const block = blocks.find((text) => text.includes(first))
  assert.ok(block, `${first} is on the page`)
  return block.trim()
}

const MODULE = '/usr/lib/softhsm/libsofthsm2.so'

/** What the page has for OpenSSL in this Debian, laid down; the part of the configuration that goes with it. */
type Reach = (machine: Machine) => Promise<{ readonly toml: string; readonly variable: string; readonly label: string }>

const byProvider: Reach = async (machine) => {
  const folder = await machine.shell('ls -d /usr/lib/*/ossl-modules')
  const openssl = (await fromPage('pkcs11-module-path'))
    .replace('/usr/lib/x86_64-linux-gnu/ossl-modules', folder)
    .replace('/usr/lib/MODULE-OF-YOUR-TOKEN.so', MODULE)
  await machine.write('/etc/iot-device-agent/openssl-pkcs11.cnf', `${openssl}\n`)
  return {
    toml: 'keyStore = "pkcs11"\ntoken = "iot"',
    variable: 'Environment=OPENSSL_CONF=/etc/iot-device-agent/openssl-pkcs11.cnf',
    label: '-----BEGIN PKCS#11 PROVIDER URI-----',
  }
}

const byEngine: Reach = async (machine) => {
  const folder = await machine.shell('ls -d /usr/lib/*/engines-3')
  const toml = await fromPage('pkcs11Engine =')
  const variable = await fromPage('PKCS11_MODULE_PATH')
  return {
    toml: toml.replace('/usr/lib/x86_64-linux-gnu/engines-3', folder).replace('LABEL-OF-YOUR-TOKEN', 'iot'),
    variable: variable.replace('/usr/lib/MODULE-OF-YOUR-TOKEN.so', MODULE),
    label: '-----BEGIN PKCS#11 ENGINE KEY-----',
  }
}

for (const [name, packages, reach] of [
  ['trixie', 'openssl,opensc,pkcs11-provider,softhsm2', byProvider],
  ['bookworm', 'openssl,gnutls-bin,libengine-pkcs11-openssl,opensc,softhsm2', byEngine],
] as const)
  test(`on ${name} a key is made in a PKCS#11 token, and serves`, { timeout: 180_000 }, (t) =>
    liveOnToken(t, name, packages, reach),
  )

async function liveOnToken(t: TestContext, name: 'trixie' | 'bookworm', packages: string, reach: Reach): Promise<void> {
  const deb = await presentPackage()
  await using beside = await startCloudBeside('press-11')
  const suite = await rootWith(name, packages)
  await using machine = await bootMachine({ suite, files: [deb] })
  tellOnFailure(t, machine)
  await install(machine, deb)
  const { toml, variable, label } = await reach(machine)
  const dropIn = (await fromPage('openssl-pkcs11.cnf\n# A device node'))
    .split('\n')
    .filter((line) => !/^(#|PrivateDevices|DeviceAllow)/.test(line))
    .map((line) => (line.startsWith('Environment=') ? variable : line))
  await machine.shell(`mkdir -p /etc/systemd/system/${UNIT}.service.d /etc/iot-device-agent/secrets
printf 1234 >/etc/iot-device-agent/secrets/token.pin
chown -R ${UNIT} /etc/iot-device-agent/secrets; chmod -R go= /etc/iot-device-agent/secrets
usermod -aG softhsm ${UNIT}
runuser -u ${UNIT} -- softhsm2-util --init-token --free --label iot --so-pin 0000 --pin 1234`)
  await machine.write(`/etc/systemd/system/${UNIT}.service.d/token.conf`, `${dropIn.join('\n')}\n`)
  await machine.shell(`systemctl daemon-reload && systemctl restart ${UNIT}`)

  await t.test('born with a key in the token, it registers and sends', async () => {
    await beside.configure(machine, `[auth.x509]\n${toml}\n`)
    const request = '/var/lib/iot-device-agent/requests/press-11.csr'
    await machine.until(`test -s ${request}`)
    const since = beside.seq()
    const chain = await beside.cloud.authority.signDevice(`${await machine.shell(`cat ${request}`)}\n`)
    await machine.write('/run/chain.pem', chain)
    const place = '/var/lib/iot-device-agent/issued/press-11.pem'
    await machine.shell(`install -D -o ${UNIT} -m 0600 /run/chain.pem ${place}.part && mv ${place}.part ${place}`)
    await beside.nextTelemetry(since)
    assert.equal(await machine.shell(`head -1 /var/lib/${UNIT}/credentials/gen-0001/key.pem`), label)
    assert.match(await machine.shell(`${UNIT} status`), /in a PKCS#11 token/)
  })

  await t.test('the own tool of the token says that the key was never extractable', async () => {
    const objects = await machine.shell(`runuser -u ${UNIT} -- pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so \
--token-label iot --login --pin 1234 --list-objects --type privkey`)
    const access = objects.match(/^ *Access:.*$/gm) ?? []
    assert.ok(access.length > 0)
    for (const line of access) assert.match(line, /sensitive, always sensitive, never extractable/)
  })

  await t.test('the PIN is in its file and nowhere else', async () => {
    const seen = await machine.shell(
      `journalctl -u ${UNIT} -o cat | grep -cw 1234 || true; tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value ${UNIT})/environ | grep -cw 1234 || true`,
    )
    assert.equal(seen, '0\n0')
  })
}
