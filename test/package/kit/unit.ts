/** The service on a booted machine, as its operator sees it. */
import { basename } from 'node:path'
import type { TestContext } from 'node:test'
import type { Machine } from './machine.ts'

export const UNIT = 'iot-device-agent'

/** Installs a package file by apt, without a network. */
export async function install(machine: Machine, deb: string, ...flags: readonly string[]): Promise<void> {
  await machine.shell(`apt-get install --yes --quiet ${flags.join(' ')} /root/${basename(deb)}`)
}

/** A property of the unit. Source: org.freedesktop.systemd1(5). */
export function property(machine: Machine, name: string): Promise<string> {
  return machine.shell(`systemctl show --value --property=${name} ${UNIT}`)
}

/** What an operator would call the identity: key, generation in use, and every file of credentials. */
export function identity(machine: Machine): Promise<string> {
  return machine.shell(`cd /var/lib/iot-device-agent/credentials
cat active; echo; find gen-* pending -type f 2>/dev/null | LC_ALL=C sort | xargs -r sha256sum`)
}

/** Waits until the service has started `times` times by itself, and is active. */
export function restarted(machine: Machine, times: number, withinMs = 60_000): Promise<string> {
  const wanted = `[ "$(systemctl show --value --property=NRestarts ${UNIT})" -ge ${times} ]`
  return machine.until(`${wanted} && systemctl is-active ${UNIT}`, withinMs)
}

/** Adds what the machine has said to every part of a test that fails. */
export function tellOnFailure(t: TestContext, machine: Machine): void {
  t.afterEach(async (part) => {
    if ('passed' in part && part.passed === false) part.diagnostic(await machine.story())
  })
}
