/** One key of the twin as the DTDL model describes it. */
export interface ModelProperty {
  /** `auth.history[].result` */
  readonly path: string
  /** In words. */
  readonly type: string
  readonly description: string
  readonly writable: boolean
}

/** What a list of DTDL interfaces says, the first being that of the device. */
export interface Model {
  readonly properties: readonly ModelProperty[]
  /** Names of the commands, and of the fields of their requests. */
  readonly commands: Readonly<Record<string, readonly string[]>>
  /** Names of what is sent. */
  readonly telemetry: readonly string[]
}

type Node = Readonly<Record<string, unknown>>

interface Lookup {
  readonly byId: ReadonlyMap<string, Node>
  /** Where each shared object was described first. */
  readonly described: Map<string, string>
}

/** @throws Error for a form of DTDL that our model has no need of */
export function readModel(interfaces: readonly object[]): Model {
  const all = interfaces as readonly Node[]
  const named = all.flatMap((each) => [each, ...nodes(each['schemas'])])
  const lookup: Lookup = { byId: new Map(named.map((each) => [String(each['@id']), each])), described: new Map() }
  const contents = nodes(all[0]?.['contents'])
  const ofType = (type: string) => contents.filter((each) => each['@type'] === type)
  return {
    properties: contents.flatMap((each) => contentProperties(each, lookup)),
    commands: Object.fromEntries(ofType('Command').map((each) => [nameOf(each), requestFields(each, lookup)])),
    telemetry: ofType('Telemetry').map(nameOf),
  }
}

function contentProperties(content: Node, lookup: Lookup): readonly ModelProperty[] {
  if (content['@type'] === 'Property') return rows(content, nameOf(content), content['writable'] === true, lookup)
  if (content['@type'] !== 'Component') return []
  const part = lookup.byId.get(String(content['schema']))
  return nodes(part?.['contents']).flatMap((each) =>
    rows(each, `${nameOf(content)}.${nameOf(each)}`, each['writable'] === true, lookup),
  )
}

/** The row of an element, then those of the fields in it. */
function rows(element: Node, path: string, writable: boolean, lookup: Lookup): readonly ModelProperty[] {
  const { type, fields, inside } = describe(element['schema'], path, lookup)
  const description = typeof element['description'] === 'string' ? element['description'] : ''
  return [
    { path, type, description, writable },
    ...fields.flatMap((field) => rows(field, `${path}${inside}.${nameOf(field)}`, writable, lookup)),
  ]
}

interface Description {
  readonly type: string
  readonly fields: readonly Node[]
  /** What leads from the path of an element to that of its fields. */
  readonly inside: '' | '[]'
}

function plain(type: string): Description {
  return { type, fields: [], inside: '' }
}

function describe(schema: unknown, path: string, lookup: Lookup): Description {
  if (typeof schema === 'string' && primitives.has(schema)) return plain(primitives.get(schema) ?? schema)
  const node = typeof schema === 'string' ? lookup.byId.get(schema) : (schema as Node)
  switch (node?.['@type']) {
    case 'Enum':
      return plain(
        nodes(node['enumValues'])
          .map((value) => `\`${String(value['enumValue'])}\``)
          .join(', '),
      )
    case 'Array': {
      const { type, fields } = describe(node['elementSchema'], `${path}[]`, lookup)
      return { type: type === 'object' ? 'list of objects' : `list, each: ${type}`, fields, inside: '[]' }
    }
    case 'Object': {
      const before = lookup.described.get(String(schema))
      if (before !== undefined) return plain(`as \`${before}\``)
      if (typeof schema === 'string') lookup.described.set(schema, path)
      return { type: 'object', fields: nodes(node['fields']), inside: '' }
    }
    default:
      throw new Error(`${path}: a schema that is not known here: ${JSON.stringify(schema)}`)
  }
}

const primitives: ReadonlyMap<string, string> = new Map([
  ['string', 'text'],
  ['boolean', '`true` or `false`'],
  ['integer', 'whole number'],
  ['long', 'whole number'],
  ['double', 'number'],
  ['dateTime', 'ISO 8601, UTC'],
])

function requestFields(command: Node, lookup: Lookup): readonly string[] {
  const request = command['request'] as Node | undefined
  return request === undefined ? [] : describe(request['schema'], nameOf(command), lookup).fields.map(nameOf)
}

function nodes(list: unknown): readonly Node[] {
  return Array.isArray(list) ? (list as readonly Node[]) : []
}

function nameOf(element: Node): string {
  return String(element['name'])
}
