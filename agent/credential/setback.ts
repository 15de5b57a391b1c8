import type { Failure } from '../failure.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Verdict } from './lifecycle.ts'
import type { Memory } from './memory.ts'
import { isNoVerdict } from './refusals.ts'

/**
 * What a failure says about a candidate. A refusal within the time for which DPS remembers another credential is no
 * verdict: the move is rolled back and tried again.
 */
export function setbackOf(failure: Failure, candidate: CredentialRef, memory: Memory, nowMs: number): Verdict {
  const { code, message } = failure
  if (failure.kind === 'transient') return { result: 'unreachable', code, reason: message }
  if (!isVerdict(failure)) return { result: 'rolledBack', code, reason: message }
  if (!isDpsRefusal(failure) || !isNoVerdict(candidate, memory, nowMs))
    return { result: 'refused', code, reason: message }
  const reason = `${message}; no verdict, since DPS may still remember the credential that it took before`
  return { result: 'rolledBack', code, reason }
}

/** An alert of TLS can be forged by anybody on the way, and a fault of ours says nothing about the candidate. */
function isVerdict({ code, kind }: Failure): boolean {
  return kind !== 'broken' && code !== 'TLS_CREDENTIAL_REFUSED'
}

/** Nothing was begun: no certificate could be asked for. */
export function refusalToPrepare({ kind, code, message }: Failure): Verdict {
  return { result: kind === 'transient' ? 'unreachable' : 'rejected', code, reason: message }
}

/** The deadline of a step has passed; what failed last says more than the time. */
export function latenessOf(code: 'AUTH_REGISTER_LATE' | 'AUTH_PROOF_LATE', last: Failure | undefined): Verdict {
  const result = code === 'AUTH_REGISTER_LATE' ? 'unreachable' : 'rolledBack'
  const what = code === 'AUTH_REGISTER_LATE' ? 'DPS did not take it' : 'it did not prove itself'
  if (last === undefined) return { result, code, reason: `${what} in time` }
  return {
    result: last.kind === 'transient' ? 'unreachable' : result,
    code: last.code,
    reason: `${what} in time; ${last.message}`,
  }
}

function isDpsRefusal({ code }: Failure): boolean {
  return code.startsWith('DPS_')
}
