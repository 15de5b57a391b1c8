import type { KeyInfo } from './setting.ts'

/** The value of a key as people may see it: a secret as `***`, a program without its arguments. */
export function veil(info: Pick<KeyInfo, 'secret' | 'commandLine'>, value: unknown): unknown {
  if (info.commandLine === true) return withoutArguments(value)
  return info.secret === true && value !== undefined ? '***' : value
}

/** Also of what is no program: a whole line of a shell as one text, an assignment before it. */
function withoutArguments(value: unknown): unknown {
  if (Array.isArray(value)) {
    const [first, ...more] = value as readonly unknown[]
    return [...(value.length === 0 ? [] : [withoutArguments(first)]), ...(more.length === 0 ? [] : [MORE])]
  }
  if (typeof value !== 'string') return typeof value === 'object' ? MORE : value
  const [file = ''] = value.split(/[\s=]/)
  return file === value ? value : `${file}${MORE}`
}

/** Stands for what is not shown. */
const MORE = '…'

/** A value as text of one line: JSON without characters that move a terminal, bounded. */
export function showValue(value: unknown): string {
  const text = (JSON.stringify(value, spellNumbers) ?? String(value)).replaceAll(
    /[\u007f-\u009f\u2028-\u202e]/g,
    escape,
  )
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)`
}

/** Longest value that is shown whole, in characters. */
const MAX_SHOWN = 120

function spellNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
