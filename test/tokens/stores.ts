/** Each kind of place for a private key, set up anew, and what its own tool says of the keys in it. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const call = promisify(execFile)

export type StoreName = 'file' | 'encrypted' | 'pkcs11' | 'engine' | 'tpm'

/** The label that every text of a key in this place begins with. */
export const keyLabels: Readonly<Record<StoreName, string>> = {
  file: '-----BEGIN PRIVATE KEY-----',
  encrypted: '-----BEGIN ENCRYPTED PRIVATE KEY-----',
  pkcs11: '-----BEGIN PKCS#11 PROVIDER URI-----',
  engine: '-----BEGIN PKCS#11 ENGINE KEY-----',
  tpm: '-----BEGIN TSS2 PRIVATE KEY-----',
}

/** The part of config.toml that chooses it. */
export const keyStoreToml: Readonly<Record<StoreName, string>> = {
  file: '[auth.x509]\nkeyStore = "file"\n',
  encrypted: `[auth.x509]\nkeyStore = "encrypted"\nencryptionKeyFile = "${process.env['ENCRYPTION_KEY_FILE'] ?? ''}"\n`,
  pkcs11: '[auth.x509]\nkeyStore = "pkcs11"\ntoken = "iot"\n',
  engine: `[auth.x509]\nkeyStore = "pkcs11"\ntoken = "iot"\npkcs11Engine = "${process.env['PKCS11_ENGINE'] ?? ''}"\npinFile = "${process.env['PIN_FILE'] ?? ''}"\n`,
  tpm: '[auth.x509]\nkeyStore = "tpm"\n',
}

/** How many keys the token's own tool calls never extractable, and how many it calls anything else. */
export async function inspectPkcs11(): Promise<{ readonly sealed: number; readonly open: number }> {
  const { stdout } = await call('pkcs11-tool', [
    ...['--module', '/usr/lib/softhsm/libsofthsm2.so', '--token-label', 'iot'],
    ...['--login', '--pin', '1234', '--list-objects', '--type', 'privkey'],
  ])
  const access = stdout.match(/^ *Access:.*$/gm) ?? []
  const sealed = access.filter((line) => /sensitive, always sensitive, never extractable/.test(line)).length
  return { sealed, open: access.length - sealed }
}

/** What the TPM's own tool says of a key. */
export async function inspectTpm(folder: string, keyPem: string): Promise<string> {
  const path = join(folder, 'key-to-look-at.pem')
  await writeFile(path, keyPem)
  return (await call('tpm2', ['print', '-t', 'TSSPRIVKEY_OBJ', path])).stdout
}
