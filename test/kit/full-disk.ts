/**
 * Loaded before the agent (`node --import`): while the file FULL_DISK_WHILE exists, files below FULL_DISK take no byte,
 * as on a disk without room.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const full = process.env['FULL_DISK'] ?? ''
const mark = process.env['FULL_DISK_WHILE'] ?? ''
const { open } = fs.promises

fs.promises.open = async (...given: Parameters<typeof open>) => {
  const file = await open(...given)
  const [path] = given
  if (full === '' || !String(path).startsWith(full) || !fs.existsSync(mark)) return file
  file.writeFile = () =>
    Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))
  return file
}
syncBuiltinESMExports()
