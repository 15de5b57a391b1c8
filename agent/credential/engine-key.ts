import { asFailure, Failure } from '../failure.ts'
import type { KeyType } from '../pki/key.ts'
import { engineKeyToPem } from '../pki/token-engine.ts'
import { tokenEnvironment } from '../pki/token-environment.ts'
import type { Clock } from '../system/clock.ts'
import { cleanWords, runProgram } from '../system/run-program.ts'
import { readPrivate } from './sas-secret.ts'

/** A token behind OpenSSL's PKCS#11 engine. */
export interface EnginePlace {
  /** The absolute path of the engine's library. */
  readonly engine: string
  /** The label of the token. */
  readonly token: string
  /** The absolute path of the file with the PIN, which only the agent can read. */
  readonly pinFile: string
}

/** A token may take long for an RSA key. */
const TIMEOUT_MS = 60_000

const algorithms: Readonly<Record<KeyType, readonly string[]>> = {
  'ec-p256': ['--generate-privkey=ecc', '--curve=secp256r1'],
  'ec-p384': ['--generate-privkey=ecc', '--curve=secp384r1'],
  'rsa-2048': ['--generate-privkey=rsa', '--bits=2048'],
  'rsa-3072': ['--generate-privkey=rsa', '--bits=3072'],
  'rsa-4096': ['--generate-privkey=rsa', '--bits=4096'],
}

const PUBLIC_KEY = /-----BEGIN PUBLIC KEY-----\n[^-]+-----END PUBLIC KEY-----\n/

/**
 * Makes a key in the token by GnuTLS' `p11tool`, since an engine cannot: it reads the PIN from its file, where other tools
 * want it among their arguments, in their environment or from a terminal.
 *
 * @param name of the key in the token, and `idHex` its ID
 * @returns the text of `key.pem`
 * @throws Failure KEY_STORE_UNAVAILABLE
 */
export async function makeEngineKey(
  { engine, token, pinFile }: EnginePlace,
  type: KeyType,
  { name, idHex }: { readonly name: string; readonly idHex: string },
  clock: Clock,
): Promise<string> {
  await requirePin(pinFile)
  const module = process.env['PKCS11_MODULE_PATH']
  const where = `pkcs11:token=${encodeURIComponent(token)}`
  const pin = `pin-source=${pinFile}`
  const provider = module === undefined ? [] : [`--provider=${module}`]
  const what = [...algorithms[type], `--label=${name}`, `--id=${idHex}`]
  const run = await runProgram(
    {
      program: ['p11tool', ...provider, '--batch', '--login', ...what, `${where};${pin}`],
      ...{ timeoutMs: TIMEOUT_MS, environment: tokenEnvironment(process.env), clock },
    },
    new AbortController().signal,
  )
  const [publicKeyPem] = PUBLIC_KEY.exec(new TextDecoder().decode(run.stdout)) ?? []
  if (run.how.end === 'exited' && run.how.exitCode === 0 && publicKeyPem !== undefined) {
    const uri = `${where};object=${name};id=${idHex.replaceAll(/../g, '%$&')};type=private;${pin}`
    return engineKeyToPem({ engine, uri, publicKeyPem })
  }
  const how = run.how.end === 'exited' ? `exit ${run.how.exitCode}` : run.how.end
  const words = cleanWords(run.stderr).slice(-300)
  throw new Failure('KEY_STORE_UNAVAILABLE', `no key was made in the PKCS#11 token (p11tool: ${how}) ${words}`)
}

/** A PIN that is wrong by its line end costs the token one of the few tries that it gives. */
async function requirePin(pinFile: string): Promise<void> {
  const { path, text } = await readPrivate(pinFile, process.env).catch((cause: unknown) => {
    throw new Failure('KEY_STORE_UNAVAILABLE', `the PIN of the token: ${asFailure(cause).message}`, { cause })
  })
  if (text !== '' && text === text.trim()) return
  const problem =
    text === '' ? 'is empty' : 'has spaces or a line end around the PIN, which the token would take for a part of it'
  throw new Failure('KEY_STORE_UNAVAILABLE', `${path} ${problem}. Write it with: printf %s PIN`)
}
