import type { KeyObject } from 'node:crypto'
import common from 'azure-iot-common'
import { Failure } from '../failure.ts'

/** A shared access signature: until it ends, whoever has the text is the device. */
export interface SasToken {
  readonly text: string
  /** Wall time in milliseconds, by the clock of this device. */
  readonly endsAtMs: number
}

/**
 * Life of a token in seconds. Long enough for a clock that is some minutes wrong. Source: the default of the Node SDK;
 * azure-docs, authenticate-authorize-sas.
 */
const LIFE_SECONDS = 3_600

/**
 * Signs a token of one hour with the device's own key.
 *
 * @param resource not encoded, as `hub1.azure-devices.net/devices/edge-0042`
 * @param keyName  `registration` for DPS; none for a device at its hub
 */
export function signToken(resource: string, key: KeyObject, nowMs: number, keyName?: 'registration'): SasToken {
  const endsAtSeconds = Math.ceil(nowMs / 1000) + LIFE_SECONDS
  const sr = common.encodeUriComponentStrict(resource)
  const secret = key.export().toString('base64')
  const text = common.SharedAccessSignature.create(sr, keyName ?? '', secret, endsAtSeconds).toString()
  return { text, endsAtMs: endsAtSeconds * 1000 }
}

/**
 * A refusal with the end of the token that was refused: an end that has passed, or that lies far ahead, tells an operator
 * that not the key but the clock is wrong. Any other failure comes back as it is.
 */
export function withTokenEnd(failure: Failure, token: SasToken | undefined): Failure {
  if (token === undefined || failure.kind !== 'refused') return failure
  const tokenEndsAt = new Date(token.endsAtMs).toISOString()
  const fact = `${failure.message}; by the clock of this device its token is good until ${tokenEndsAt}`
  const { code, cause, retryAfterMs } = failure
  return new Failure(code, fact, {
    context: { ...failure.context, tokenEndsAt },
    ...(cause === undefined ? {} : { cause }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}
