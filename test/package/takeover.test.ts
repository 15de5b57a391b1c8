/** A device of the migration tutorial: its Python program runs as the service, and the agent takes over and goes back. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Cloud } from '../cloud/cloud.ts'
import { newIdentity, withCredential } from '../cloud/hub/identity.ts'
import { eventsOf } from '../integration/agent-kit.ts'
import type { EventOf } from '../integration/agent-kit.ts'
import { CA_FILE, startFleet } from './kit/fleet.ts'
import { bootMachine } from './kit/machine.ts'
import type { Machine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { install, property, tellOnFailure, UNIT } from './kit/unit.ts'

const ID = 'press-07'
const PROGRAM = fileURLToPath(new URL('../conformance/python/iot_device_x509.py', import.meta.url))

/** What Microsoft's Python client needs, as the conformance tests keep it. */
async function pythonPackages(): Promise<string> {
  const script = fileURLToPath(new URL('../conformance/python/environment', import.meta.url))
  const { stdout } = await promisify(execFile)(script)
  const lib = join(dirname(dirname(stdout.trim())), 'lib')
  const [python = ''] = await readdir(lib)
  return join(lib, python, 'site-packages')
}

/** The tutorial's unit; the stand-in's authority and the folder of packages are this test's. */
const oldUnit = (cloud: Cloud) => `[Unit]
Description=IoT device agent of the tutorial

[Service]
Environment=DEVICE_ID=${ID} DPS_ID_SCOPE=${cloud.idScope} DPS_HOST=${cloud.dps.host} TELEMETRY_INTERVAL=1
Environment=PYTHONPATH=/root/site-packages SSL_CERT_FILE=/etc/iot-certs/ca.pem
ExecStart=/usr/bin/python3 /opt/iot-agent/iot_device_x509.py
Restart=on-failure

[Install]
WantedBy=multi-user.target
`

/** Python and what its client needs, and the settings that let both clients trust this stand-in. */
async function layPython(machine: Machine, cloud: Cloud): Promise<void> {
  await machine.shell('cp /root/resolv.conf /etc/resolv.conf; apt-get -qq update; apt-get -qqy install python3', {
    withinMs: 120_000,
  })
  await machine.shell(`echo 127.0.0.1 ${cloud.dps.host} ${cloud.hub.host} >>/etc/hosts`)
  const ca = await readFile(cloud.caFile, 'utf8')
  await machine.shell('mkdir -p /etc/iot-certs /opt/iot-agent /etc/iot-device-agent')
  await machine.write('/etc/iot-certs/ca.pem', ca, 0o644)
  await machine.write(CA_FILE, ca, 0o644)
  const toml = `[dps]\nhost = "${cloud.dpsAddress}"\n[tls]\ncaFile = "${CA_FILE}"\n[clock]\nskewSource = "off"\n`
  await machine.write('/etc/iot-device-agent/config.toml', toml, 0o644)
}

/** The Python client, with its certificate and its key, as it has run for years. */
async function layOldClient(machine: Machine, cloud: Cloud): Promise<void> {
  await layPython(machine, cloud)
  const { chainPem, keyPem } = await cloud.authority.makeDevice(ID)
  await machine.write(`/etc/iot-certs/${ID}.pem`, chainPem, 0o644)
  await machine.write(`/etc/iot-certs/${ID}.key`, keyPem, 0o600)
  await machine.write('/opt/iot-agent/iot_device_x509.py', await readFile(PROGRAM, 'utf8'), 0o644)
  await machine.write(`/etc/systemd/system/${UNIT}.service`, oldUnit(cloud), 0o644)
  await machine.shell(`systemctl daemon-reload; systemctl enable --now ${UNIT}`)
}

/** The program before the migration: the same messages, by the connection string of the device. */
const SAS_PROGRAM = `import asyncio, json, os
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

async def main():
    client = IoTHubDeviceClient.create_from_connection_string(os.environ["IOTHUB_DEVICE_CONNECTION_STRING"])
    await client.connect()
    while True:
        await client.send_message(Message(json.dumps({"temperature": 22.5})))
        await asyncio.sleep(1)

asyncio.run(main())
`

/** The client of a device that is still on SAS, under a name of its own; the key comes back. */
async function laySasClient(machine: Machine, cloud: Cloud): Promise<string> {
  await layPython(machine, cloud)
  const [primaryKey, secondaryKey] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
  cloud.hub.putIdentity(withCredential(newIdentity(ID), { type: 'sas', primaryKey, secondaryKey }))
  const text = `HostName=${cloud.hub.host};DeviceId=${ID};SharedAccessKey=${primaryKey}`
  await machine.write('/etc/default/sensor', `IOTHUB_DEVICE_CONNECTION_STRING="${text}"\n`, 0o600)
  await machine.write('/opt/iot-agent/sensor.py', SAS_PROGRAM, 0o644)
  const unit = oldUnit(cloud)
    .replace('iot_device_x509.py', 'sensor.py')
    .replace('[Service]\n', '[Service]\nEnvironmentFile=/etc/default/sensor\n')
  await machine.write('/etc/systemd/system/sensor.service', unit, 0o644)
  await machine.shell('systemctl daemon-reload; systemctl enable --now sensor')
  return primaryKey
}

/** Whether a message is one of the tutorial's program, whose temperature never changes. */
function isOld({ message }: EventOf<'telemetry'>): boolean {
  return /"temperature": 22\.5/.test(message.body.toString())
}

async function hears(cloud: Cloud, old: boolean): Promise<void> {
  const since = cloud.record.events().at(-1)?.seq ?? 0
  await cloud.record.waitFor(
    (event) => event.kind === 'telemetry' && event.message.deviceId === ID && isOld(event) === old,
    { since, withinMs: 60_000 },
  )
}

test('the agent takes over from the Python program of the tutorial, and goes back', { timeout: 400_000 }, async (t) => {
  const deb = await presentPackage()
  await using cloud = await startFleet({ port: 8883, hubHosts: ['hub-1.localhost'] })
  const files = [deb, await pythonPackages(), '/etc/resolv.conf']
  await using machine = await bootMachine({ suite: 'bookworm', files })
  tellOnFailure(t, machine)
  await layOldClient(machine, cloud)
  await hears(cloud, true)
  const wasIn = 'systemctl show --value --property=FragmentPath iot-device-agent'

  await t.test('the package is installed beside it, and the program goes on', async () => {
    const pid = await property(machine, 'MainPID')
    await install(machine, deb)
    assert.equal(await property(machine, 'MainPID'), pid)
    await hears(cloud, true)
  })

  await t.test('import shows what it would do, and changes nothing', async () => {
    const { status, stdout } = await machine.run([UNIT, 'import'])
    assert.equal(status, 0)
    assert.match(stdout, new RegExp(ID))
    assert.equal(await machine.shell(wasIn), `/etc/systemd/system/${UNIT}.service`)
    await hears(cloud, true)
  })

  await t.test('import --apply proves the new connection, and only then keeps it', async () => {
    const { status, stdout, stderr } = await machine.run([UNIT, 'import', '--apply', '--wait', '60'], {
      withinMs: 120_000,
    })
    assert.equal(status, 0, stdout + stderr)
    assert.match(await machine.shell(wasIn), /^(\/usr)?\/lib\/systemd\/system\/iot-device-agent\.service$/)
    await hears(cloud, false)
    const said = await machine.shell(`${UNIT} status --json || true`)
    const seen = JSON.parse(said) as { auth: { mode: string }; warnings: readonly { code: string }[] }
    assert.equal(seen.auth.mode, 'x509')
    assert.ok(seen.warnings.some(({ code }) => code === 'KEY_FOREIGN'))
    // The key that has travelled is to be replaced: a new one is made, and its request waits.
    await machine.until(`test -s /var/lib/iot-device-agent/requests/${ID}.csr`)
    assert.doesNotMatch(stdout + stderr, /PRIVATE KEY/)
  })

  await t.test(
    'once its request is signed, the key that never left the device takes the place of the copied one',
    async () => {
      const state = '/var/lib/iot-device-agent'
      const chain = await cloud.authority.signDevice(await machine.read(`${state}/requests/${ID}.csr`))
      await machine.write(`${state}/issued/${ID}.part`, chain, 0o644)
      await machine.shell(`mv ${state}/issued/${ID}.part ${state}/issued/${ID}.pem`)
      await machine.until(`grep -q gen- ${state}/credentials/active`)
      await machine.until(`! ${UNIT} status --json | grep -q KEY_FOREIGN`)
      await hears(cloud, false)
    },
  )

  await t.test('import --undo brings the program back as it was', async () => {
    const { status, stdout, stderr } = await machine.run([UNIT, 'import', '--undo'], { withinMs: 120_000 })
    assert.equal(status, 0, stdout + stderr)
    assert.equal(await machine.shell(wasIn), `/etc/systemd/system/${UNIT}.service`)
    assert.equal(await machine.shell(`systemctl is-enabled ${UNIT}`), 'enabled')
    await hears(cloud, true)
  })
  assert.ok(eventsOf(cloud, 'connected', ID).length >= 3)
})

test('the agent takes over from a client on SAS, and says nothing of its key', { timeout: 400_000 }, async (t) => {
  const deb = await presentPackage()
  await using cloud = await startFleet({ port: 8883, hubHosts: ['hub-1.localhost'] })
  const files = [deb, await pythonPackages(), '/etc/resolv.conf']
  await using machine = await bootMachine({ suite: 'bookworm', files })
  tellOnFailure(t, machine)
  const secret = await laySasClient(machine, cloud)
  await hears(cloud, true)
  await install(machine, deb)

  await t.test('the old unit is masked once the agent has proved itself on SAS', async () => {
    const { status, stdout, stderr } = await machine.run([UNIT, 'import', '--apply', '--wait', '60'], {
      withinMs: 120_000,
    })
    assert.equal(status, 0, stdout + stderr)
    await hears(cloud, false)
    assert.equal(await machine.shell('systemctl is-enabled sensor || true'), 'masked')
    const seen = JSON.parse(await machine.shell(`${UNIT} status --json || true`)) as { auth: { mode: string } }
    assert.equal(seen.auth.mode, 'sas')
    assert.ok(!`${stdout}${stderr}`.includes(secret))
    assert.equal(await machine.shell(`journalctl -o cat | grep -cF '${secret}' || true`), '0')
  })

  await t.test('import --undo brings it back, and the agent stays off', async () => {
    const { status, stdout, stderr } = await machine.run([UNIT, 'import', '--undo'], { withinMs: 120_000 })
    assert.equal(status, 0, stdout + stderr)
    assert.equal(await machine.shell('systemctl is-enabled sensor; systemctl is-active sensor'), 'enabled\nactive')
    assert.equal(await machine.shell(`systemctl is-active ${UNIT} || true`), 'inactive')
    await hears(cloud, true)
  })
})
