import { lstat, open, readdir, readlink } from 'node:fs/promises'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'
import { laneOfProgram, literalIn, valuesOf } from './names.ts'
import type { OldValue, OldValues } from './names.ts'
import { readAssignments, readEnvironmentFile, readEnvironmentLine, splitWords } from './unit-text.ts'
import type { Assignment } from './unit-text.ts'

/** The service of an older client. Paths are those of the machine, without the root they were read below. */
export interface OldClient {
  /** `iot-device-agent.service`. */
  readonly name: string
  readonly unitFile: string
  readonly dropIns: readonly string[]
  readonly user: string
  /** The program that its `ExecStart=` runs, if one could be told. */
  readonly program: string | undefined
  readonly values: OldValues
  /** What the program's text says that it speaks. */
  readonly lane: 'x509' | 'sas' | undefined
}

/** Folders of unit files, the strongest first. Source: systemd.unit(5); /lib is /usr/lib on most systems. */
export const unitFolders = [
  '/etc/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
] as const

/** More than any unit, environment file, key or sample program has. */
const MAX_BYTES = 1024 * 1024

/**
 * The one older client of a machine, or the one that is chosen by the name of its unit.
 *
 * @param root the folder that the machine's paths are looked for below
 * @throws Failure IMPORT_NOTHING_FOUND, IMPORT_SEVERAL_FOUND
 */
export async function findClient(root: string, unit: string | undefined): Promise<OldClient> {
  const all = await findClients(root)
  const wanted = unit === undefined || unit.endsWith('.service') ? unit : `${unit}.service`
  const chosen = wanted === undefined ? all : all.filter(({ name }) => name === wanted)
  const [client, ...others] = chosen
  const names = (clients: readonly OldClient[]) => clients.map(({ unitFile }) => unitFile).join(', ')
  if (client === undefined) {
    const looked = `looked for a service that runs Python or /opt/iot-agent and has its settings (DPS_ID_SCOPE, DEVICE_ID, a connection string) in ${unitFolders.join(', ')}`
    const fact = all.length === 0 || wanted === undefined ? looked : `${wanted} is none; there is ${names(all)}`
    throw new Failure('IMPORT_NOTHING_FOUND', fact)
  }
  if (others.length > 0) throw new Failure('IMPORT_SEVERAL_FOUND', names(chosen))
  return client
}

async function findClients(root: string): Promise<readonly OldClient[]> {
  const seen = new Set<string>()
  const clients: OldClient[] = []
  for (const folder of unitFolders) {
    for (const name of (await namesIn(join(root, folder))).filter((each) => each.endsWith('.service'))) {
      // The strongest file of a name is the one that counts, even when it masks the others.
      if (seen.has(name)) continue
      seen.add(name)
      const client = await look(root, folder, name)
      if (client !== undefined) clients.push(client)
    }
  }
  return clients
}

async function look(root: string, folder: string, name: string): Promise<OldClient | undefined> {
  const unitFile = join(folder, name)
  if (await isAlias(root, unitFile)) return undefined
  const text = await readBounded(root, unitFile)
  if (text === undefined) return undefined
  const dropIns = await dropInsOf(root, name)
  const pieces = [{ path: unitFile, text }, ...dropIns]
  const lines = pieces.flatMap((piece) =>
    readAssignments(piece.text).map((assignment) => ({ ...assignment, path: piece.path })),
  )
  const service = lines.filter(({ section }) => section === 'Service')
  const command = settledOf(service, 'ExecStart').join('\n')
  if (!/\bpython[\d.]*\b|\.py\b|\/opt\/iot-agent\//.test(command)) return undefined
  const program = programOf(command, settledOf(service, 'WorkingDirectory').at(-1))
  const source = program === undefined ? undefined : await readBounded(root, program)
  const variables = await variablesOf(root, service)
  const literal = source === undefined ? undefined : literalIn(source)
  const values = valuesOf(variables)
  const found: OldValues =
    literal === undefined || values.connectionString !== undefined
      ? values
      : { ...values, connectionString: { value: literal, where: `the text of ${program}` } }
  const telling = ['idScope', 'connectionString', 'deviceKey', 'registrationId'] as const
  if (!telling.some((meaning) => found[meaning] !== undefined)) return undefined
  return {
    ...{ name, unitFile, dropIns: dropIns.map(({ path }) => path), program, values: found },
    user: settledOf(service, 'User').at(-1) ?? 'root',
    lane: source === undefined ? undefined : laneOfProgram(source),
  }
}

type Line = Assignment & { readonly path: string }

/** The values of a key that count: an empty one takes back those before it. */
function settledOf(lines: readonly Line[], key: string): readonly string[] {
  return linesOf(lines, key).map(({ value }) => value)
}

function linesOf(lines: readonly Line[], key: string): readonly Line[] {
  const own = lines.filter((line) => line.key === key)
  return own.slice(own.findLastIndex(({ value }) => value === '') + 1)
}

/** What stands in a file goes before what stands in the unit, whatever their order. Source: systemd.exec(5). */
async function variablesOf(root: string, service: readonly Line[]): Promise<ReadonlyMap<string, OldValue>> {
  const variables = new Map<string, OldValue>()
  for (const { value, path } of linesOf(service, 'Environment'))
    for (const each of readEnvironmentLine(value)) variables.set(each.name, { value: each.value, where: path })
  for (const reference of settledOf(service, 'EnvironmentFile')) {
    const path = reference.replace(/^-/, '').replaceAll('%%', '%')
    for (const each of readEnvironmentFile((await readBounded(root, path)) ?? ''))
      variables.set(each.name, { value: each.value, where: path })
  }
  return variables
}

function programOf(command: string, folder: string | undefined): string | undefined {
  const words = splitWords(command).flatMap((word) => word.split(/[\s;&|]+/))
  const program = words.find((word) => word.endsWith('.py')) ?? words.find((word) => word.startsWith('/opt/iot-agent/'))
  if (program === undefined) return undefined
  const cd = words[words.indexOf('cd') + 1]
  const base = words.includes('cd') && cd !== undefined ? cd : (folder ?? '/').replace(/^[-~]/, '')
  return isAbsolute(program) ? program : resolve('/', base, program)
}

/** `NAME.d/*.conf` of all folders in the order of their names; a stronger folder hides the same name of a weaker one. */
async function dropInsOf(root: string, name: string): Promise<readonly { path: string; text: string }[]> {
  const found = new Map<string, string>()
  for (const folder of unitFolders)
    for (const each of await namesIn(join(root, folder, `${name}.d`)))
      if (each.endsWith('.conf') && !found.has(each)) found.set(each, join(folder, `${name}.d`, each))
  const paths = [...found].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, path]) => path)
  const pieces: { path: string; text: string }[] = []
  for (const path of paths) {
    const text = await readBounded(root, path)
    if (text !== undefined) pieces.push({ path, text })
  }
  return pieces
}

/** Another name of a unit, or the mask of one. */
async function isAlias(root: string, path: string): Promise<boolean> {
  const found = await lstat(join(root, path))
  if (!found.isSymbolicLink()) return false
  const target = await readlink(join(root, path))
  return target === '/dev/null' || basename(target) !== basename(path)
}

/**
 * The text of a file of the machine; undefined when it is missing, too large, or no file at all.
 *
 * @throws whatever the file system refuses with: what may not be read must not pass for missing
 */
export async function readBounded(root: string, path: string): Promise<string | undefined> {
  try {
    const link = (await lstat(join(root, path))).isSymbolicLink() ? await readlink(join(root, path)) : undefined
    // Within another root, an absolute link means a place there.
    const target = link === undefined ? path : resolve('/', path, '..', link)
    await using file = await open(join(root, target), 'r')
    const found = await file.stat()
    return found.isFile() && found.size <= MAX_BYTES ? await file.readFile('utf8') : undefined
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP'].includes(errorCode(error) ?? '')) return undefined
    throw error
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).toSorted()
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw error
  }
}
