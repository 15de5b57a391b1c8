/**
 * Keys that OpenSSL's PKCS#11 engine reaches, the way of Debian 12, which has no provider for tokens. The runtime takes an
 * engine for TLS and for nothing else: so the public half stands beside the name of the key, and requests are signed by
 * the `openssl` program.
 */
import { basename, dirname } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { cleanWords, runProgram } from '../system/run-program.ts'
import { tokenEnvironment } from './token-environment.ts'

/** How an engine finds a key. Nothing of it is secret: the URI names the file of the PIN, not the PIN. */
export interface EngineKey {
  /** The engine itself: the absolute path of its library. */
  readonly engine: string
  /** RFC 7512. */
  readonly uri: string
  /** SPKI, PEM. */
  readonly publicKeyPem: string
}

const LABEL = 'PKCS#11 ENGINE KEY'
const WHOLE =
  /^-----BEGIN PKCS#11 ENGINE KEY-----\n([\d+/=A-Za-z\n]+)-----END PKCS#11 ENGINE KEY-----\n(-----BEGIN PUBLIC KEY-----\n[^-]+-----END PUBLIC KEY-----\n)$/

const SIGN_WITHIN_MS = 30_000

/** The text of `key.pem` for such a key: ours, since no program has one. */
export function engineKeyToPem({ engine, uri, publicKeyPem }: EngineKey): string {
  const body = Buffer.from(JSON.stringify({ engine, uri })).toString('base64')
  const lines = body.match(/.{1,64}/g) ?? []
  return `-----BEGIN ${LABEL}-----\n${lines.join('\n')}\n-----END ${LABEL}-----\n${publicKeyPem}`
}

/**
 * The key that such a text stands for; undefined for the text of any other key.
 *
 * @param where the file it came from, for the message
 * @throws Failure KEY_UNREADABLE it was cut off or changed
 */
export function engineKeyOf(pem: string, where: string): EngineKey | undefined {
  if (!pem.includes(`-----BEGIN ${LABEL}-----`)) return undefined
  const [, body = '', publicKeyPem = ''] = WHOLE.exec(pem) ?? []
  const named = parse(Buffer.from(body, 'base64').toString())
  if (named !== undefined) return { ...named, publicKeyPem }
  throw new Failure('KEY_UNREADABLE', `${where} is not the whole name of a key in a token`, {
    context: { path: where },
  })
}

function parse(text: string): Pick<EngineKey, 'engine' | 'uri'> | undefined {
  try {
    const { engine, uri } = JSON.parse(text) as Partial<Record<string, unknown>>
    return typeof engine === 'string' && typeof uri === 'string' ? { engine, uri } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** A private key as TLS takes it: as text, or as an engine and what that finds it by. */
export function tlsKeyOf(pem: string, where: string): SecureContextOptions {
  const key = engineKeyOf(pem, where)
  return key === undefined ? { key: pem } : byEngine(key)
}

/**
 * By the name of the engine, and not by its path: by path OpenSSL loads it anew at each connection, which this engine refuses
 * from the second time on. Where a name is looked for, OpenSSL takes from the environment alone.
 */
function byEngine({ engine, uri }: EngineKey): SecureContextOptions {
  process.env[FOLDER_VARIABLE] = dirname(engine)
  return { privateKeyEngine: nameOf(engine), privateKeyIdentifier: uri }
}

const FOLDER_VARIABLE = 'OPENSSL_ENGINES'

function nameOf(engine: string): string {
  return basename(engine, '.so')
}

/**
 * Has the engine find the key, which it does only when the token is there, with the right PIN, and has the key.
 *
 * @throws Failure KEY_STORE_UNAVAILABLE
 */
export function requireInToken(key: EngineKey, where: string): void {
  try {
    createSecureContext(byEngine(key))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const fact = `the key of ${where} lives in a token (pkcs11) that ${key.engine} does not reach: ${why}`
    throw new Failure('KEY_STORE_UNAVAILABLE', fact, { cause, context: { path: where, store: 'pkcs11' } })
  }
}

/**
 * Signs with such a key, as `crypto.sign` does with others: ECDSA in DER, RSA by PKCS #1 v1.5.
 *
 * @param digest `sha256`, `sha384`
 * @throws Failure KEY_STORE_UNAVAILABLE with what the program said
 */
export async function signByEngine(key: EngineKey, digest: string, data: Buffer, clock: Clock): Promise<Buffer> {
  const how = ['-engine', nameOf(key.engine), '-keyform', 'engine', '-sign', key.uri]
  const environment = { ...tokenEnvironment(process.env), [FOLDER_VARIABLE]: dirname(key.engine) }
  const run = await runProgram(
    {
      program: ['openssl', 'dgst', `-${digest}`, ...how],
      ...{ input: data, timeoutMs: SIGN_WITHIN_MS, environment, clock },
    },
    new AbortController().signal,
  )
  if (run.how.end === 'exited' && run.how.exitCode === 0 && run.stdout.length > 0) return Buffer.from(run.stdout)
  const end = run.how.end === 'exited' ? `exit ${run.how.exitCode}` : run.how.end
  const words = cleanWords(run.stderr).slice(0, 300)
  throw new Failure('KEY_STORE_UNAVAILABLE', `the token did not sign a request (openssl dgst: ${end}) ${words}`)
}
