import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { version } from '../../agent/version.ts'
import type { Performance } from './figures.ts'

export function describeMachine(): Performance['machine'] {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? process.arch,
    cores: processors.length,
    memoryMb: Math.round(totalmem() / 1024 / 1024),
    system: /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux',
    kernel: release(),
  }
}

/** Versions of whatever may change the figures. */
export function describeVersions(root: string, python: string): Performance['versions'] {
  const packages = ['azure-iot-device', 'azure-iot-device-mqtt', 'azure-iot-provisioning-device', 'mqtt']
  const npm = packages.map((name) => {
    const { version } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as {
      version: string
    }
    return [`${name} (npm)`, version]
  })
  const ask = `import platform, importlib.metadata as m
print(platform.python_version(), m.version("azure-iot-device"), m.version("paho-mqtt"))`
  const [interpreter = '', device = '', paho = ''] = execFileSync(python, ['-c', ask]).toString().trim().split(' ')
  return {
    'iot-device-agent': version,
    Node: process.versions.node,
    ...Object.fromEntries(npm),
    Python: interpreter,
    'azure-iot-device (PyPI)': device,
    'paho-mqtt (PyPI)': paho,
  }
}
