import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { keyStoreOf } from './key-store.ts'

/**
 * Gives back the keys of the TPM that nothing uses any more; to be called before one is loaded. The kernel lets a program
 * have three objects in the TPM (drivers/char/tpm, struct tpm_space), and loading a key takes two of them for a moment: its
 * parent and itself. The runtime gives a key back when it collects its memory, which an agent at rest may not do for hours.
 */
export function makeRoomInTpm(keyPem: string): void {
  if (keyStoreOf(keyPem) !== 'tpm') return
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // What a context of TLS held is free after the first round only.
  collect()
  collect()
}
