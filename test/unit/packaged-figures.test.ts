import assert from 'node:assert/strict'
import test from 'node:test'
import packaged from '../../docs/package-figures.json' with { type: 'json' }
import { packagedSection } from '../../scripts/figures/packaged/page.ts'

const sum = (parts: readonly { readonly bytes: number }[]) => parts.reduce((total, { bytes }) => total + bytes, 0)

test('the parts of the arm64 package are all of what is installed, and none is less than nothing', () => {
  const arm64 = packaged.packages.find(({ arch }) => arch === 'arm64')
  assert.equal(sum(packaged.parts), arm64?.installed)
  assert.ok(packaged.parts.every(({ bytes }) => bytes > 0))
})

test('the parts of the program are not more than the program', () => {
  const program = packaged.parts.find(({ title }) => title === 'the program')
  assert.ok(program !== undefined && sum(packaged.bundle) <= program.bytes)
})

test('the page tells sizes in megabytes of 1,048,576 bytes and values as median, least and most', () => {
  const values = {
    ...{ readyMs: [1, 2, 9], firstMessageMs: [100, 300, 200], startCpuMs: [1], rssMb: [70], pssMb: [70] },
    ...{ anonymousMb: [20], restCpuMs: [3], restWrittenKb: [0] },
  }
  const page = packagedSection({
    ...packaged,
    packages: [{ name: 'iot-device-agent', arch: 'arm64', deb: 3 * 1_048_576, installed: 5.5 * 1_048_576 }],
    service: [{ suite: 'trixie', systemd: '257', values }],
  })
  assert.match(page, /^\| iot-device-agent \| arm64 \| 3\.00 MB \| 5\.50 MB \|$/m)
  assert.match(page, /^\| start of the unit to first .* \| ms \| \*\*200\*\* \(100–300\) \|$/m)
})
