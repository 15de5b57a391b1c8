import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { errorCode } from './error-code.ts'

/** Where this machine tells who it is; a test brings a folder in the place of `/`. */
export interface MachineRoot {
  /** Folder with /sys and /proc. */
  readonly root: string
  /** The name of the machine as the kernel has it now. */
  readonly hostname: () => string
}

/** One look at one place of the machine. */
export type Look =
  | { readonly place: string; readonly value: string }
  /** `why` follows the place, as in "is not there". */
  | { readonly place: string; readonly value?: undefined; readonly why: string; readonly denied: boolean }

/** Longest line that is taken, in bytes. A registration ID has at most 64 characters, a UUID 36. */
const MAX_LINE_BYTES = 256

/** The first line of a file, up to a NUL, as the kernel ends what a device tree says, without blanks around it. */
export function lookAtLine({ root }: Pick<MachineRoot, 'root'>, place: string): Look {
  try {
    const line = firstLine(readStart(join(root, place)))
    if (line === undefined) return nothingAt(place, 'is no file, or its first line is no short text')
    return line === '' ? nothingAt(place, 'is empty') : { place, value: line }
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    const denied = code === 'EACCES' || code === 'EPERM'
    return { place, why: refusals[code] ?? `cannot be read (${code})`, denied }
  }
}

/** The same, where a value that many machines have counts as none. */
export function lookAtName(machine: Pick<MachineRoot, 'root'>, place: string): Look {
  return withoutFiller(lookAtLine(machine, place))
}

/** The same, for what should tell one machine from all others: a value of a few characters does not. */
export function lookAtSerial(machine: Pick<MachineRoot, 'root'>, place: string): Look {
  const look = lookAtName(machine, place)
  if (look.value === undefined || look.value.length >= LEAST_SERIAL) return look
  return nothingAt(place, `says ${JSON.stringify(look.value)}, which is too short for a serial number`)
}

/** A look that found a value, or none if many machines say the same. */
export function withoutFiller(look: Look): Look {
  if (look.value === undefined || !isFiller(look.value)) return look
  return nothingAt(look.place, `says ${JSON.stringify(look.value)}, as many machines do`)
}

export function nothingAt(place: string, why: string): Look {
  return { place, why, denied: false }
}

const refusals: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
}

/** What makers leave in the place of a serial number. Source: product_serial and board_serial of boards in the field. */
const fillers: ReadonlySet<string> = new Set([
  'to be filled by o.e.m.',
  'default string',
  'system serial number',
  'chassis serial number',
  'base board serial number',
  'no asset tag',
  'not specified',
  'not applicable',
  'not available',
  'not provided',
  'none',
  'n/a',
  'unknown',
  'invalid',
  'empty',
  'o.e.m.',
  'oem',
  '123456789',
  '1234567890',
  '0123456789',
  // Left as it is in the firmware kit of AMI.
  '03000200-0400-0500-0006-000700080009',
])

/** Fewest characters of a serial number; counters and "0" are shorter. */
const LEAST_SERIAL = 4

/** One character again and again, as in a memory that nobody has written, is no name either. */
function isFiller(line: string): boolean {
  return fillers.has(line.toLowerCase()) || /^(.)\1{3,}$/.test(line.replaceAll(/[\s.:-]/g, '').toLowerCase())
}

/** Opened so that a pipe does not make the agent wait. Undefined for what is no regular file. */
function readStart(path: string): Buffer | undefined {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(file).isFile()) return undefined
    const bytes = Buffer.alloc(MAX_LINE_BYTES + 1)
    return bytes.subarray(0, readSync(file, bytes))
  } finally {
    closeSync(file)
  }
}

function firstLine(bytes: Buffer | undefined): string | undefined {
  if (bytes === undefined) return undefined
  const end = bytes.findIndex((byte) => byte === 0 || byte === 0x0a)
  if (end < 0 && bytes.length > MAX_LINE_BYTES) return undefined
  const line = bytes.toString('utf8', 0, end < 0 ? bytes.length : end).trim()
  return /[\p{C}\p{Zl}\p{Zp}\ufffd]/u.test(line) ? undefined : line
}
