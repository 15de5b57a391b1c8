/** Whether the secrets of a device stayed where they belong. */
import { readFile } from 'node:fs/promises'
import { holdsKey, keyForms, secretForms } from '../../test/kit/leak.ts'
import { filesBelow } from './device.ts'
import type { Scene } from './transition-scene.ts'
import { REGISTRATION_ID } from './words.ts'

export interface SecretSearch {
  /** True when no private key is anywhere but in the vault, and the SAS secret, retired by now, is nowhere. */
  stayed(): Promise<boolean>
}

const KEY_FILE = /\/credentials\/gen-\d+\/key\.pem$/

/** Remembers the SAS secret before the device destroys it, and shows that the search finds it while it is there. */
export async function searchForSecrets({
  cloud,
  device,
  folder,
  sasFleet,
  secretFile,
  check,
}: Scene): Promise<SecretSearch> {
  const sas = secretForms(Buffer.from(sasFleet.deriveKey(REGISTRATION_ID), 'base64'))
  if (!holdsKey(sas, await readFile(secretFile))) throw new Error('the search does not find the SAS secret where it is')
  return {
    async stayed() {
      const files = await filesBelow(folder)
      const keys = [...files].filter(([path]) => KEY_FILE.test(path))
      const outside = [...files].filter(([path]) => !KEY_FILE.test(path)).map(([, content]) => content)
      const left = [cloud.received(), Buffer.from(device.said()), await device.processMemory()]
      const isKept = keys.every(([path, key]) => {
        const forms = keyForms(key.toString())
        const others = keys.filter(([other]) => other !== path).map(([, content]) => content)
        return holdsKey(forms, key) && ![...left, ...outside, ...others].some((place) => holdsKey(forms, place))
      })
      const isGone = ![...left, ...files.values()].some((place) => holdsKey(sas, place))
      return check(
        'keys stayed',
        keys.length > 0 && isKept && isGone,
        `${keys.length} private keys in state/credentials and nowhere else; the SAS secret nowhere any more: ` +
          `searched in ${cloud.received().length} bytes that the cloud received, the log, the process and every file`,
      )
    },
  }
}
