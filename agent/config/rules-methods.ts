import { problemAt } from './judge.ts'
import type { Rule } from './judge.ts'
import { methodNames, methodWords, NO_METHOD } from './methods.ts'
import { showValue } from './show.ts'
import { nearestOf } from './suggest.ts'

/** Unknown names that are reported one by one. */
const MAX_NAMED = 8

/** Every name of `methods.allowed` is that of a method. */
export const methodsExist: Rule = (values, found) => {
  const text = values.get('methods.allowed')
  if (typeof text !== 'string') return []
  const unknown = methodWords(text).filter((word) => !methodNames.some((name) => name === word))
  return unknown.slice(0, MAX_NAMED).map((word) => {
    const meant = nearestOf(word, methodNames)
    const problem =
      word === NO_METHOD ? `"${NO_METHOD}" stands alone or not at all.` : `There is no method ${showValue(word)}.`
    const remedy = meant === undefined ? `There are ${methodNames.join(', ')}.` : `Did you mean ${meant}?`
    return problemAt(found, 'methods.allowed', { problem, remedy })
  })
}
