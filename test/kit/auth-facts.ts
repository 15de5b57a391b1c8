import type { AuthFacts } from '../../agent/credential/auth-view.ts'
import type { CredentialRef } from '../../agent/credential/credential-ref.ts'
import type { Lifecycle, Move } from '../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../agent/credential/memory.ts'
import type { Attempt, Memory } from '../../agent/credential/memory.ts'

/** The instant at which the facts below are looked at. */
export const authNowMs = Date.UTC(2026, 10, 23, 12)

export const onSas: CredentialRef = { lane: 'sas' }
export const onX509: CredentialRef = { lane: 'x509', generation: 'gen-0002' }

/** A wish of the twin, ten seconds old. */
export const wishedMove: Move = { to: 'x509', fresh: false, cause: 'twin', version: 7, atMs: authNowMs - 10_000 }

/** A refused try of that wish, five minutes old. */
export const refusedAttempt: Attempt = {
  ...{ to: 'x509', cause: 'twin', version: 7, result: 'refused', code: 'DPS_UNAUTHORIZED' },
  reason: 'DPS answered 401: CA certificate not found',
  atMs: authNowMs - 300_000,
}

/** What is known of a device on SAS that may fall back and has no history. */
export function authFacts(
  lifecycle: Lifecycle = { phase: 'steady', active: onSas },
  memory: Partial<Memory> = {},
  others: Partial<AuthFacts> = {},
): AuthFacts {
  return {
    nowMs: authNowMs,
    record: { lifecycle, memory: { ...emptyMemory, ...memory } },
    policy: {
      born: 'sas',
      fallback: {
        ...{ enabled: true, untilMs: Date.UTC(2027, 0, 31), refusals: 5, holdOffMs: 1_800_000, perDay: 2 },
        ...{ returnAfterMs: 14_400_000, retireAfterMs: undefined },
      },
    },
    sas: 'ready',
    sasSecret: { from: '/etc/iot-device-agent/secrets/sas.key', direct: false },
    ...others,
  }
}
