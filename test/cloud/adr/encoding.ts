/** The text form of a certificate request, before anything is parsed. Pure. */

/** Largest request in characters of base64. Source: the scenario log of the renewal; DPS names none. */
const MAX_CHARACTERS = 8 * 1024

/** What is wrong with the text itself: it has to be base64 on one line, without armour. */
export type EncodingProblem = 'missing' | 'tooLong' | 'notBase64'

export function encodingProblem(csr: unknown): EncodingProblem | undefined {
  if (typeof csr !== 'string' || csr === '') return 'missing'
  if (csr.length > MAX_CHARACTERS) return 'tooLong'
  return Buffer.from(csr, 'base64').toString('base64') === csr ? undefined : 'notBase64'
}
