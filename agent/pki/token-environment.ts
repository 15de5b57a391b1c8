import { programEnvironment } from '../system/run-program.ts'

/** What OpenSSL, its providers and its engine read of the environment: where they are configured, and how the token is reached. */
const TOKEN_VARIABLES = [
  ...['OPENSSL_CONF', 'TPM2OPENSSL_TCTI', 'SOFTHSM2_CONF', 'PKCS11_PROVIDER_MODULE', 'PKCS11_MODULE_PATH'],
  // Of a TPM that is shared by a daemon, and not by the kernel.
  'DBUS_SESSION_BUS_ADDRESS',
]

/** The environment of a program that works with a token: that of every program, and what leads to the token. */
export function tokenEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const known = TOKEN_VARIABLES.flatMap((name) => {
    const value = environment[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { ...programEnvironment(environment), ...Object.fromEntries(known) }
}
