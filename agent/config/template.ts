/** Where one part of a registration ID comes from. */
export type Source =
  | { readonly from: 'hostname' }
  | { readonly from: 'serial' }
  | { readonly from: 'dmi'; readonly name: DmiName }
  | { readonly from: 'mac'; readonly name: string }
  | { readonly from: 'file'; readonly path: string }

/** Names of the firmware that tell one machine from another. */
const dmiNames = ['product_serial', 'product_uuid', 'board_serial', 'chassis_serial', 'chassis_asset_tag'] as const

export type DmiName = (typeof dmiNames)[number]

/** Text that stands as it is, or something of the machine. */
export type Part = string | Source

export type Template =
  | { readonly ok: true; readonly parts: readonly Part[] }
  | { readonly ok: false; readonly problem: string }

/** Every source as it is written, for remedies. */
export const SOURCES = `{hostname}, {serial}, {dmi:${dmiNames.join('|')}}, {mac:eth0}, {file:/absolute/path}`

/** Whether a registration ID is a template; no ID has a brace. */
export function isTemplate(text: string): boolean {
  return /[{}]/.test(text)
}

/** Takes a template apart. The first thing that is wrong comes back. */
export function parseTemplate(text: string): Template {
  const pieces = text.split(/(\{[^{}]*\})/).filter((piece) => piece !== '')
  const parts = pieces.map(parsePiece)
  const wrong = parts.find((part) => typeof part === 'object' && 'problem' in part)
  if (wrong !== undefined) return { ok: false, problem: wrong.problem }
  return { ok: true, parts: parts.filter((part) => typeof part === 'string' || 'from' in part) }
}

type Mistake = { readonly problem: string }

function parsePiece(piece: string): Part | Mistake {
  if (!isTemplate(piece)) return piece
  if (!piece.startsWith('{') || !piece.endsWith('}')) return { problem: 'A brace stands alone.' }
  return parseSource(piece) ?? { problem: `There is no ${piece}.` }
}

function parseSource(piece: string): Source | undefined {
  const [, from, given] = /^\{([a-z]+)(?::(.+))?\}$/.exec(piece) ?? []
  if (from === 'hostname' || from === 'serial') return given === undefined ? { from } : undefined
  if (given === undefined) return undefined
  const dmi = dmiNames.find((name) => name === given)
  if (from === 'dmi' && dmi !== undefined) return { from, name: dmi }
  if (from === 'mac' && isInterface(given)) return { from, name: given }
  return from === 'file' && given.startsWith('/') && !given.includes('\0') ? { from, path: given } : undefined
}

/** What the kernel takes as a name, so that it cannot lead out of its folder (net/core/dev.c, dev_valid_name). */
function isInterface(name: string): boolean {
  return /^[^/:\s\0]{1,15}$/.test(name) && name !== '.' && name !== '..'
}
