/** Removed, installed again, purged; beside an older client of the same name; and into a system that is not running. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { olderPackage, presentPackage } from './kit/packages.ts'
import { rootFolder, suites } from './kit/roots.ts'
import { identity, install, property, tellOnFailure, UNIT } from './kit/unit.ts'

const call = promisify(execFile)

/** The unit of a client that came before, at the place where an administrator's units are. */
const OLDER_CLIENT = `[Unit]
Description=IoT device agent in Python
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
`

/** Everything that bears the name of the agent; what dpkg, apt and journald write of the past is theirs. */
const TRACES = `find / -xdev \\( -path /proc -o -path /sys -o -path /root -o -path /var/log -o -path /tmp \\) -prune -o \
  -name '*${UNIT}*' -print`

/** Installs into a root that nothing runs in, and says what came of it; the root itself stays as it is. */
const INTO_ROOT = `mount -t tmpfs none "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay none -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cp "$3" "$2/root/root/agent.deb"
chroot "$2/root" dpkg --install /root/agent.deb >&2
cd "$2/root"
readlink etc/systemd/system/multi-user.target.wants/${UNIT}.service
cut -d: -f1 etc/passwd | grep -x ${UNIT}
find etc/${UNIT} var/lib/${UNIT} run/${UNIT} 2>/dev/null || true
grep -lr 'PRIVATE KEY' etc/ssl/private var/lib etc/iot* 2>/dev/null || true
chroot . ${UNIT} version`

for (const suite of suites) {
  test(`on ${suite} the package comes and goes`, { timeout: 180_000 }, async (t) => {
    const [older, present] = [await olderPackage(), await presentPackage()]
    await using beside = await startCloudBeside('press-04')
    await using machine = await bootMachine({ suite, files: [older, present] })
    tellOnFailure(t, machine)
    await install(machine, present)
    await beside.configure(machine)
    await beside.enrol(machine)
    const first = await identity(machine)
    // 64 characters in the middle of the key: no other file has them by chance.
    const secret = await machine.shell(`sed -n 2p /var/lib/${UNIT}/credentials/gen-0001/key.pem`)
    const secretFiles = () =>
      machine.shell(
        `find / -xdev \\( -path /proc -o -path /sys \\) -prune -o -type f -exec grep -lF -- '${secret}' {} + || true`,
      )

    await t.test('removed, it is off, and its state and configuration are kept', async () => {
      assert.notEqual(await secretFiles(), '', 'the key is found while it is there')
      await machine.shell(`apt-get remove --yes --quiet ${UNIT}`)
      assert.notEqual(await property(machine, 'ActiveState'), 'active')
      assert.equal(await property(machine, 'MainPID'), '0')
      assert.equal(await machine.shell(`ls -A /usr/lib/${UNIT} /usr/bin/${UNIT} 2>/dev/null || true`), '')
      assert.equal(await identity(machine), first)
      assert.match(await machine.read(`/etc/${UNIT}/config.toml`), /press-04/)
    })

    await t.test('installed again, it goes on with the same key', async () => {
      const since = beside.seq()
      await install(machine, present)
      await beside.nextTelemetry(since)
      assert.equal(await identity(machine), first)
      assert.equal(await machine.shell(`systemctl is-enabled ${UNIT}`), 'enabled')
    })

    await t.test('its identity is not stripped while it runs, nor by mistake', async () => {
      const running = await machine.run([UNIT, 'seal', '--yes'])
      assert.notEqual(running.status, 0)
      assert.match(running.stderr, /the agent is running/)
      await machine.shell(`systemctl stop '${UNIT}*'`)
      const unasked = await machine.run([UNIT, 'seal'])
      assert.notEqual(unasked.status, 0)
      assert.match(unasked.stderr, /seal --yes/)
      assert.equal(await identity(machine), first)
      await machine.shell(`systemctl start ${UNIT}`)
    })

    await t.test('purged, nothing of it is left: no file, no link, no byte of the key', async () => {
      await machine.shell(`apt-get purge --yes --quiet ${UNIT}`)
      assert.equal(await machine.shell(TRACES), '')
      assert.equal(await machine.shell('find /etc/systemd -xtype l ! -lname /dev/null'), '', 'links to nowhere')
      assert.equal(await secretFiles(), '')
      assert.equal(await property(machine, 'LoadState'), 'not-found')
    })

    await t.test('a unit of the same name in /etc is left alone by install, upgrade, remove and purge', async () => {
      await machine.write(`/etc/systemd/system/${UNIT}.service`, OLDER_CLIENT)
      await machine.shell(`systemctl daemon-reload && systemctl enable --now ${UNIT}`)
      const pid = await property(machine, 'MainPID')
      const steps = [
        () => install(machine, older),
        () => install(machine, present),
        () => machine.shell(`apt-get remove --yes --quiet ${UNIT}`),
        () => machine.shell(`apt-get purge --yes --quiet ${UNIT}`),
      ]
      for (const step of steps) {
        await step()
        assert.equal(await property(machine, 'MainPID'), pid, step.toString())
        assert.equal(await machine.shell(`systemctl is-enabled ${UNIT}`), 'enabled', step.toString())
        assert.equal(await machine.read(`/etc/systemd/system/${UNIT}.service`), OLDER_CLIENT)
      }
    })
  })

  test(`into a root of ${suite} that is not running, the service is enabled and nothing of a device is made`, async () => {
    await using folder = await makeTemporaryFolder()
    const place = [await rootFolder(suite), folder.path, await presentPackage()]
    const inside = ['--mount', '--propagation', 'private', 'sh', '-euc', INTO_ROOT, 'into-root', ...place]
    const { stdout } = await call('unshare', inside)
    const [link, user, ...others] = stdout.trim().split('\n')
    assert.match(link ?? '', new RegExp(`/lib/systemd/system/${UNIT}\\.service$`))
    assert.equal(user, UNIT)
    assert.equal(others.length, 1, stdout)
    assert.match(others[0] ?? '', /^iot-device-agent \d/)
  })
}
