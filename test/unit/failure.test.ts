import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { asFailure, Failure } from '../../agent/failure.ts'

test('the advice can be typed as it stands: host, port and path of this failure are in it', () => {
  const unknown = new Failure('NETWORK_DNS', 'x', { context: { host: 'dps.example' } })
  assert.match(unknown.advice, /getent hosts dps\.example$/)
  const closed = new Failure('NETWORK_REFUSED', 'x', { context: { host: 'dps.example', port: 8884 } })
  assert.match(closed.advice, /TCP port 8884 /)
  const full = new Failure('DISK_FULL', 'x', { context: { path: '/data/agent' } })
  assert.match(full.advice, /df -h \/data\/agent\./)
})

test('without that, the advice is that of the table', () => {
  assert.match(new Failure('NETWORK_DNS', 'x').advice, /getent hosts HOST$/)
})

test('a file that the system keeps from us is no defect of the program', async () => {
  const denied = Object.assign(new Error('EACCES: permission denied, open /x'), { code: 'EACCES', path: '/x' })
  assert.equal(asFailure(denied).code, 'ACCESS_DENIED')
  const missing = await readFile('/nowhere/at/all').catch(asFailure)
  assert.equal(missing instanceof Failure && missing.code, 'UNEXPECTED')
  assert.equal(asFailure(new Error('x')).code, 'UNEXPECTED')
})
