import type { AuthOrder, OrderAnswer } from '../credential/rotation-ports.ts'
import { Failure } from '../failure.ts'
import { isObject } from '../system/json.ts'
import { askControl } from './client.ts'
import type { AskOptions } from './client.ts'
import type { ControlAnswer, ControlRequest } from './protocol.ts'

/** Less than the 30 s after which the agent lets a client go. */
const ORDER_WITHIN_MS = 25_000

/**
 * The order in a request: `{"ask":"auth","mode":"x509"}`, `{"ask":"renew"}` or `{"ask":"reprovision"}`, each with
 * `"rehearse":true` or without. Whoever may open the socket may give orders, which are its owner and group (0660).
 *
 * @throws Failure CONTROL_BAD_REQUEST anything else
 */
export function orderOf(request: ControlRequest): AuthOrder {
  const { ask, mode, rehearse = false, ...others } = request
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw bad(`there is no field ${show(unknown)}`)
  if (typeof rehearse !== 'boolean') throw bad(`rehearse must be true or false, is ${show(rehearse)}`)
  if (ask === 'auth') {
    if (mode !== 'sas' && mode !== 'x509') throw bad(`mode must be "sas" or "x509", is ${show(mode)}`)
    return { order: mode, cause: 'command', rehearse }
  }
  if (ask !== 'renew' && ask !== 'reprovision') throw bad(`there is nothing to answer to ${show(ask)}`)
  if (mode !== undefined) throw bad(`${ask} takes no mode`)
  return { order: ask, cause: 'command', rehearse }
}

/** The request that `orderOf` reads. */
export function requestOf({ order, rehearse }: Pick<AuthOrder, 'order' | 'rehearse'>): ControlRequest {
  if (order === 'sas' || order === 'x509') return { ask: 'auth', mode: order, rehearse }
  return { ask: order, rehearse }
}

/**
 * Gives an order to the running agent; throws as `askControl` does. A refusal in the answer is no failure; one of the
 * whole request comes back as it is.
 */
export async function askOrder(
  order: Pick<AuthOrder, 'order' | 'rehearse'>,
  options: AskOptions,
): Promise<OrderAnswer | Extract<ControlAnswer, { ok: false }>> {
  const answer = await askControl(requestOf(order), { withinMs: ORDER_WITHIN_MS, ...options })
  if (!answer.ok) return answer
  if (isOrderAnswer(answer.value)) return answer.value
  throw new Failure('CONTROL_BAD_ANSWER', 'the answer to the order is of a form that is not known here')
}

function isOrderAnswer(value: unknown): value is OrderAnswer {
  if (!isObject(value) || typeof value['accepted'] !== 'boolean' || !Array.isArray(value['steps'])) return false
  const { code = '', steps } = value
  return typeof code === 'string' && steps.every((step) => typeof step === 'string')
}

function bad(fact: string): Failure {
  return new Failure('CONTROL_BAD_REQUEST', fact)
}

/** A value as it stands in a message: its JSON, shortened. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing'
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
