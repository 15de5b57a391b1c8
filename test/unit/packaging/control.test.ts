import assert from 'node:assert/strict'
import { test } from 'node:test'
import { controlOf } from '../../../scripts/packaging/control.ts'

const about = {
  name: 'iot-device-agent',
  version: '0.1.0',
  arch: 'arm64',
  withRuntime: true,
  sourceTimeMs: Date.UTC(2026, 10, 24),
} as const

/** The fields of a control file; a line that begins with a blank belongs to the one before. */
function fieldsOf(text: string): Readonly<Record<string, string>> {
  const fields = text.split(/\n(?! )/).filter((field) => field !== '')
  return Object.fromEntries(
    fields.map((field) => [field.slice(0, field.indexOf(':')), field.slice(field.indexOf(':') + 2)]),
  )
}

test('the package with the runtime needs only libraries, authorities and systemd', () => {
  const { Depends, Conflicts, Architecture } = fieldsOf(controlOf(about, 2048))
  const names = (Depends ?? '').split(', ').map((relation) => relation.split(' ')[0])
  assert.deepEqual(names, ['ca-certificates', 'init-system-helpers', 'libc6', 'libgcc-s1', 'libstdc++6', 'systemd'])
  assert.equal(Architecture, 'arm64')
  assert.equal(Conflicts, 'iot-device-agent-system-node')
})

test('the package without it needs the Node of the system, and takes the place of the other', () => {
  const small = { ...about, name: 'iot-device-agent-system-node', arch: 'all', withRuntime: false } as const
  const fields = fieldsOf(controlOf(small, 2048))
  assert.match(fields['Depends'] ?? '', /nodejs \(>= 24\)/)
  assert.doesNotMatch(fields['Depends'] ?? '', /libc6/)
  assert.deepEqual(
    [fields['Provides'], fields['Conflicts'], fields['Replaces']],
    ['iot-device-agent', 'iot-device-agent', 'iot-device-agent'],
  )
})

test('the installed size is in KiB, rounded up', () => {
  assert.equal(fieldsOf(controlOf(about, 2049))['Installed-Size'], '3')
})
