/** Every direct method that the agent has. */
export const methodNames = [
  'ping',
  'getStatus',
  'setAuthMode',
  'renewCertificate',
  'reprovision',
  'setLogLevel',
  'getCsr',
  'installCertificate',
] as const

export type MethodName = (typeof methodNames)[number]

/** The word for no method at all. */
export const NO_METHOD = 'none'

/** The words of `methods.allowed`, which may name methods that do not exist. */
export function methodWords(text: string): readonly string[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  return words.length === 1 && words[0] === NO_METHOD ? [] : [...new Set(words)]
}

/** The methods that `methods.allowed` names, in the order of `methodNames`. */
export function allowedMethods(text: string): readonly MethodName[] {
  const words = new Set(methodWords(text))
  return methodNames.filter((name) => words.has(name))
}
