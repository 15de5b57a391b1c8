/** The arm64 package: under qemu-user in an arm64 root, and in a machine with an arm64 kernel and systemd of its own. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { access, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { eventsOf } from '../integration/agent-kit.ts'
import { eventually } from '../kit/device.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { startProgram } from '../kit/program.ts'
import { arm64Folder, arm64Package } from './kit/arm64.ts'
import { CA_FILE, configuration, messages, startFleet, telemetryAfter } from './kit/fleet.ts'
import { bootVirtualMachine, HOST_ADDRESS } from './kit/virtual-machine.ts'

const run = promisify(execFile)

/** An emulated processor is some twenty times slower than this one. */
const EMULATED_MS = 120_000

test('under qemu-user the package is installed in an arm64 root, and sends telemetry', async () => {
  await using cloud = await startFleet()
  await using folder = await makeTemporaryFolder()
  const root = join(folder.path, 'root')
  await run('cp', ['-a', '--reflink=auto', join(await arm64Folder(), 'root'), root])
  const deb = await arm64Package()
  await copyFile(deb, join(root, 'root', basename(deb)))
  await run('chroot', [root, 'dpkg', '-i', `/root/${basename(deb)}`])
  assert.match((await run('chroot', [root, 'iot-device-agent', 'version'])).stdout, /, linux arm64\)\n$/)
  const state = join(root, 'var/lib/iot-device-agent')
  await assert.rejects(access(state), { code: 'ENOENT' }, 'an installation makes no state')

  await mkdir(join(root, 'etc/iot-device-agent'))
  await copyFile(cloud.caFile, join(root, CA_FILE))
  await writeFile(join(root, 'etc/iot-device-agent/config.toml'), configuration(cloud, 'press-arm'))
  const inside = 'mount -t proc proc "$1/proc"; exec chroot "$1" /usr/bin/iot-device-agent "$2"'
  const words = ['-m', 'sh', '-ec', inside, 'sh', root] as const
  await using agent = startProgram(['/usr/bin/unshare', ...words], { PATH: process.env['PATH'] ?? '' })
  const csr = await eventually(() => readFile(join(state, 'requests/press-arm.csr'), 'utf8').catch(() => undefined), {
    withinMs: EMULATED_MS,
    seen: () => String(agent.pid),
  })
  const issued = join(state, 'issued', 'press-arm.pem')
  await writeFile(`${issued}.part`, await cloud.authority.signDevice(csr))
  await rename(`${issued}.part`, issued)
  await telemetryAfter(cloud, 'press-arm', 0, EMULATED_MS)
  assert.equal(eventsOf(cloud, 'registered', 'press-arm').length, 1)
  assert.equal((await agent.stop()).status, 0)
})

test('in an arm64 machine the service starts under systemd, and telemetry survives a slow and lossy road', async (t) => {
  await using cloud = await startFleet({ dpsHost: 'dps.cloud.test', hubHosts: ['hub-1.cloud.test'] })
  await using folder = await makeTemporaryFolder()
  const ca = join(folder.path, 'ca.pem')
  const toml = join(folder.path, 'config.toml')
  await copyFile(cloud.caFile, ca)
  await writeFile(toml, configuration(cloud, 'press-vm'))
  const deb = await arm64Package()
  await using machine = await bootVirtualMachine({ folder: await arm64Folder(), files: [deb, ca, toml] })
  assert.equal(await machine.shell('uname -m'), 'aarch64\n')
  await machine.shell(`echo ${HOST_ADDRESS} dps.cloud.test hub-1.cloud.test >>/etc/hosts`)

  await machine.shell(`dpkg -i /root/${basename(deb)}`, EMULATED_MS)
  await machine.until('systemctl is-active iot-device-agent', EMULATED_MS)
  assert.match(
    await machine.shell('systemctl show -p StatusText --value iot-device-agent'),
    /waiting for a configuration/,
  )
  t.diagnostic(await machine.shell('systemd-analyze security iot-device-agent --no-pager | tail -1'))

  await machine.shell('mkdir -p /etc/iot-device-agent; cp /root/ca.pem /root/config.toml /etc/iot-device-agent/')
  await machine.until('test -e /var/lib/iot-device-agent/requests/press-vm.csr', EMULATED_MS)
  const chain = await cloud.authority.signDevice(await machine.shell('iot-device-agent csr', EMULATED_MS))
  await machine.shell(`iot-device-agent install-certificate - <<'END'\n${chain}\nEND`, EMULATED_MS)
  await telemetryAfter(cloud, 'press-vm', 0, EMULATED_MS)

  // All controllers of cgroup v2 are there, so the limits of the unit are real.
  const limits = await machine.shell('systemctl show -p MemoryMax -p MemoryCurrent -p TasksMax iot-device-agent')
  assert.match(limits, /^MemoryMax=\d+$/m)
  assert.match(limits, /^MemoryCurrent=\d+$/m)
  t.diagnostic(limits)
  await machine.shell('tc qdisc add dev eth0 root netem delay 300ms 100ms loss 5%')
  const before = messages(cloud, 'press-vm')
  await telemetryAfter(cloud, 'press-vm', before + 2, EMULATED_MS)
  const pid = (await machine.shell('systemctl show -p MainPID --value iot-device-agent')).trim()
  await machine.shell('systemctl kill -s KILL iot-device-agent')
  const now = '$(systemctl show -p MainPID --value iot-device-agent)'
  await machine.until(`test ${now} -gt 1 -a ${now} != ${pid}`, EMULATED_MS)
  await telemetryAfter(cloud, 'press-vm', messages(cloud, 'press-vm'), EMULATED_MS)
  await machine.shell('tc qdisc del dev eth0 root')

  await t.test('with the drop-in that the package brings, the next key is in the TPM, and stays there', async () => {
    const dropIns = '/etc/systemd/system/iot-device-agent.service.d'
    await machine.shell(`mkdir -p ${dropIns}; ln -s /usr/share/iot-device-agent/tpm.conf ${dropIns}/`)
    await machine.shell(`printf '[auth.x509]\\nkeyStore = "tpm"\\n' >>/etc/iot-device-agent/config.toml`)
    await machine.shell('systemctl daemon-reload; systemctl restart iot-device-agent', EMULATED_MS)
    await telemetryAfter(cloud, 'press-vm', messages(cloud, 'press-vm'), EMULATED_MS)
    const state = '/var/lib/iot-device-agent'
    // The second time the key in use is in the TPM as well, which has room for three objects.
    for (const generation of ['gen-0002', 'gen-0003']) {
      await machine.shell('iot-device-agent renew', EMULATED_MS)
      await machine.until(`grep -q 'BEGIN TSS2 PRIVATE KEY' ${state}/credentials/pending/key.pem`, EMULATED_MS)
      const request = await machine.until(`cat ${state}/requests/press-vm.csr`, EMULATED_MS)
      const renewed = await cloud.authority.signDevice(request)
      await machine.shell(`cat >/root/chain.pem <<'END'\n${renewed}\nEND`)
      await machine.shell(`install -o iot-device-agent -m 0600 /root/chain.pem ${state}/issued/press-vm.pem`)
      const thumbprint = new X509Certificate(renewed).fingerprint256.replaceAll(':', '')
      await cloud.record.waitFor(
        () => eventsOf(cloud, 'connected', 'press-vm').some((event) => event.thumbprint === thumbprint),
        { withinMs: EMULATED_MS },
      )
      await telemetryAfter(cloud, 'press-vm', messages(cloud, 'press-vm'), EMULATED_MS)
      await machine.until(`! test -e ${state}/requests/press-vm.csr`, EMULATED_MS)
      assert.match(
        await machine.shell(`tpm2 print -t TSSPRIVKEY_OBJ ${state}/credentials/${generation}/key.pem`),
        /fixedtpm\|fixedparent\|sensitivedataorigin/,
      )
    }
    assert.match(await machine.shell('iot-device-agent status --json', EMULATED_MS), /"store": ?"tpm"/)
    // Nothing but the TPM was opened up (char-rtc is of ProtectClock=): the service still sees no disk and no console.
    const allowed = await machine.shell('systemctl show -p DeviceAllow -p DevicePolicy iot-device-agent')
    const besides = ['DeviceAllow=char-rtc r', 'DevicePolicy=closed']
    assert.deepEqual(
      allowed
        .trim()
        .split('\n')
        .filter((line) => !besides.includes(line)),
      ['DeviceAllow=/dev/tpmrm0 rw'],
    )
  })
})
