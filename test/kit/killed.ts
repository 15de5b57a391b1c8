/**
 * Loaded before the agent (`node --import`): the file KILL_AT names steps of the disk, one a line, of what is below the
 * folder KILL_BELOW. When the agent has come to them in this order, its process is gone, as by `kill -9`.
 */
import { readFileSync } from 'node:fs'
import { followDisk } from './disk-steps.ts'

const file = process.env['KILL_AT'] ?? ''
let plan = ''
let passed = 0

await followDisk(process.env['KILL_BELOW'] ?? '', ({ at, name }) => {
  const text = readFileSync(file, 'utf8')
  if (text !== plan) passed = 0
  plan = text
  const steps = plan.split('\n')
  if (steps[passed] !== `${at} ${name}`) return
  passed += 1
  if (passed === steps.length) process.kill(process.pid, 'SIGKILL')
})
