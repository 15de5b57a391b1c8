import {
  array,
  boolean,
  check,
  date,
  description,
  guard,
  integer,
  maxValue,
  minValue,
  number,
  picklist,
  pipe,
  regex,
  string,
  transform,
  union,
} from 'valibot'
import { parseInstant } from './instant.ts'

/** A whole number of a range, both ends included. */
export const wholeNumber = (least: number, most: number) =>
  pipe(number(), integer(), minValue(least), maxValue(most), description(`a whole number from ${least} to ${most}`))

export const yesOrNo = () => pipe(boolean(), description('true or false'))

/** A day or a moment, as text or as TOML writes it; text comes out. What it means: `parseInstant`. */
export const instant = () =>
  pipe(
    union([string(), date()]),
    transform((value) => (typeof value === 'string' ? value : value.toISOString())),
    check((text) => parseInstant(text) !== undefined),
    description('a day (2027-01-31), or a time with its zone (2027-01-31T18:00:00Z)'),
  )

/** One of a few words. */
export const oneOf = <const Words extends readonly [string, ...string[]]>(...words: Words) =>
  pipe(
    picklist(words),
    description(words.length === 1 ? showWord(words[0]) : `one of ${words.map(showWord).join(', ')}`),
  )

/** A file or folder that does not depend on where the agent was started. */
export const absolutePath = () => pipe(string(), regex(/^\/[^\0]*$/), description('an absolute path'))

/** Longest `runtimeDir`, in bytes: Linux bounds the path of a socket to 107, and `/telemetry.sock` follows. */
const MAX_RUNTIME_DIR_BYTES = 107 - '/telemetry.sock'.length

/** The folder of the sockets. */
export const socketFolder = () =>
  pipe(
    string(),
    regex(/^\/[^\0]*$/),
    check((path) => Buffer.byteLength(path) <= MAX_RUNTIME_DIR_BYTES),
    description(`an absolute path of at most ${MAX_RUNTIME_DIR_BYTES} bytes`),
  )

/** RFC 1123 host name or IPv4 address, with a port where a test or a gateway needs one. */
export const hostAndPort = () => pipe(string(), check(isHostAndPort), description('a host name, or host:port'))

/** A server for the comparison of clocks, or none. */
export const skewSource = () =>
  pipe(
    string(),
    check((text) => text === 'off' || isHostAndPort(text)),
    description('a host name, host:port, or "off"'),
  )

/** Where a secret is, never the secret itself. */
export const secretReference = () =>
  pipe(
    string(),
    regex(/^(\/[^\0]*|credential:[A-Za-z0-9._-]{1,64})$/),
    check((text) => !looksLikeSecret(text)),
    description('the absolute path of a file, or credential:NAME'),
  )

/** Where a service is, without user, query or fragment. */
export const httpsUrl = () =>
  pipe(
    string(),
    regex(/^https:\/\/[A-Za-z0-9.[\]:-]{1,255}(\/[A-Za-z0-9._~/-]{0,255})?$/),
    description('an address that begins with https://'),
  )

/** A name in the manner of HTTP. Source: RFC 7617, section 2: no colon, no control character. */
export const userName = () =>
  pipe(string(), regex(/^[^:\p{Cc}]{1,128}$/u), description('a name of 1 to 128 characters without a colon'))

/** Words in a line; which ones there are is a rule of its own. */
export const wordList = () =>
  pipe(string(), regex(/^(?=.*[A-Za-z])[^\0]{1,1024}$/), description('names separated by blanks or commas'))

/** What DPS shows as ID scope. Only what cannot travel in a topic, a URL or a user name is refused. */
export const idScope = () =>
  pipe(string(), regex(/^[A-Za-z0-9-]{1,64}$/), description('the ID scope of a DPS instance'))

/** A registration ID; which characters it may have depends on `device.idRule`. */
export const registrationId = () => pipe(string(), regex(/^[^\0]{1,128}$/), description('a registration ID'))

/** The name of a stream, and of what fills it. */
export const sourceName = () =>
  pipe(string(), regex(/^[A-Za-z0-9._-]{1,64}$/), description('1 to 64 letters, digits, dots, underscores and hyphens'))

/** The label of a PKCS#11 token: at most 32 bytes, by the standard. */
export const tokenLabel = () =>
  pipe(string(), regex(/^[\x20-\x7e]{1,32}$/), description('1 to 32 printable characters'))

/** The name of a component, as DTDL 2 has it. */
export const componentName = () =>
  pipe(
    string(),
    regex(/^(?=.{1,64}$)[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$/),
    description('1 to 64 letters, digits and underscores, a letter first and no underscore last'),
  )

/** Most parts of a command line, and the longest of them in characters. */
const MAX_PARTS = 64
const MAX_PART_LENGTH = 4096

/** A program and its arguments as the system takes them, without a shell. */
export const commandLine = () =>
  pipe(
    array(string()),
    guard(isCommandLine),
    description(`an array of up to ${MAX_PARTS} strings: the absolute path of a program, then its arguments`),
  )

function isCommandLine(parts: readonly string[]): parts is readonly [string, ...string[]] {
  const isBounded = parts.length <= MAX_PARTS && parts.every((part) => part.length <= MAX_PART_LENGTH)
  return isBounded && parts[0]?.startsWith('/') === true && parts.every((part) => !part.includes('\0'))
}

/** A key in base64, which may begin with a slash as a path does, or a connection string, or a token. */
function looksLikeSecret(text: string): boolean {
  const isPadded = /^[A-Za-z0-9+/]{20,}={1,2}$/.test(text)
  const hasPlus = /^[A-Za-z0-9+/]{24,}$/.test(text) && text.includes('+')
  return isPadded || hasPlus || /SharedAccess(Key|Signature)/i.test(text)
}

function isHostAndPort(text: string): boolean {
  const [, host = '', port] = /^([^:]+)(?::(\d{1,5}))?$/.exec(text) ?? []
  const labels = host.split('.')
  const named =
    host.length <= 253 && labels.every((label) => /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label))
  return named && (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535))
}

function showWord(word: string): string {
  return JSON.stringify(word)
}
