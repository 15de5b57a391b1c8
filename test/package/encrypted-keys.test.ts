/** Private keys that are encrypted with a secret that systemd keeps for this machine; and that secret when it is lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { suites } from './kit/roots.ts'
import { identity, install, property, tellOnFailure, UNIT } from './kit/unit.ts'

const KEY_UNIT = `${UNIT}-key`
const SECRET = `/run/${KEY_UNIT}/encryption-key`
const SEALED = `/var/lib/${KEY_UNIT}/encryption-key`
const KEY = `/var/lib/${UNIT}/credentials/gen-0001/key.pem`

for (const suite of suites) {
  test(`on ${suite} private keys are encrypted at rest`, { timeout: 180_000 }, async (t) => {
    const deb = await presentPackage()
    await using beside = await startCloudBeside('press-09')
    await using machine = await bootMachine({ suite, files: [deb] })
    tellOnFailure(t, machine)

    await t.test('installed, nothing is encrypted, and no secret is made', async () => {
      await install(machine, deb)
      assert.equal(await machine.shell(`systemctl is-enabled ${KEY_UNIT} || true`), 'disabled')
      await machine.shell(`test ! -e /var/lib/${KEY_UNIT}`)
    })

    await t.test('with one command and one key of the configuration, they are', async () => {
      await machine.shell(`systemctl enable --now ${KEY_UNIT}`)
      assert.equal(await machine.shell(`stat -c '%a %U' ${SECRET}`), `400 ${UNIT}`)
      assert.equal(await machine.shell(`stat -c '%a %U' /var/lib/${KEY_UNIT} ${SEALED}`), '700 root\n600 root')
      assert.equal(await machine.shell(`grep -cF "$(cat ${SECRET})" ${SEALED} || true`), '0')
      await beside.configure(machine, '[auth.x509]\nkeyStore = "encrypted"\n')
      await beside.enrol(machine)
      assert.equal(await machine.shell(`head -1 ${KEY}`), '-----BEGIN ENCRYPTED PRIVATE KEY-----')
      await machine.shell(`openssl pkey -in ${KEY} -passin file:${SECRET} -noout`)
      assert.equal(await machine.shell(`grep -rlE 'BEGIN (EC |RSA )?PRIVATE' /var/lib/${UNIT} || true`), '')
      assert.match(await machine.shell(`${UNIT} status --json`), /"store": ?"encrypted"/)
    })

    const first = await identity(machine)

    await t.test('the same secret is there after each start', async () => {
      const before = await machine.shell(`cat ${SECRET}`)
      await machine.shell(`systemctl stop ${KEY_UNIT} && test ! -e ${SECRET}`)
      const since = beside.seq()
      await machine.shell(`systemctl restart ${UNIT}`)
      assert.equal(await machine.shell(`cat ${SECRET}`), before, 'the agent brings it along')
      await beside.nextTelemetry(since)
    })

    await t.test('where the secret cannot be opened the agent runs, says so, and loses nothing', async () => {
      await machine.shell(`cp ${SEALED} /root/kept && echo bm9uc2Vuc2U= >${SEALED}`)
      await machine.shell(
        `systemctl restart ${KEY_UNIT} || true; systemctl restart ${UNIT}; systemctl is-failed ${KEY_UNIT}`,
      )
      await machine.until(`${UNIT} status | grep KEY_STORE_UNAVAILABLE`)
      assert.equal(await property(machine, 'ActiveState'), 'active')
      assert.match(await machine.shell(`${UNIT} status || true`), new RegExp(`systemctl status ${KEY_UNIT}`))
      assert.equal(await machine.shell(`cat ${SEALED}`), 'bm9uc2Vuc2U=', 'it is not replaced')
      assert.equal(await identity(machine), first)
    })

    await t.test('with the secret back it connects as before, by itself', async () => {
      const since = beside.seq()
      await machine.shell(`cp /root/kept ${SEALED} && systemctl restart ${KEY_UNIT}`)
      // It looks again every half a minute.
      await beside.nextTelemetry(since, 90_000)
      assert.equal(await identity(machine), first)
    })

    await t.test('purged, nothing of it is left', async () => {
      await machine.shell(`rm /root/kept; apt-get purge --yes --quiet ${UNIT}`)
      assert.equal(await machine.shell(`find /etc /run /var/lib -xdev -name '*${KEY_UNIT}*' -not -path '*/dpkg/*'`), '')
    })
  })
}
