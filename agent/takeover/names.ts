/** What a value of the old client means to ours. */
export const meanings = {
  idScope: { secret: false, names: ['DPS_ID_SCOPE', 'PROVISIONING_IDSCOPE', 'IOTHUB_DEVICE_DPS_ID_SCOPE'] },
  registrationId: {
    secret: false,
    names: ['DEVICE_ID', 'PROVISIONING_REGISTRATION_ID', 'IOTHUB_DEVICE_DPS_DEVICE_ID', 'DPS_X509_REGISTRATION_ID'],
  },
  dpsHost: { secret: false, names: ['DPS_HOST', 'PROVISIONING_HOST', 'IOTHUB_DEVICE_DPS_ENDPOINT'] },
  certPath: { secret: false, names: ['CERT_PATH', 'X509_CERT_FILE'] },
  keyPath: { secret: false, names: ['KEY_PATH', 'X509_KEY_FILE'] },
  intervalSeconds: { secret: false, names: ['TELEMETRY_INTERVAL'] },
  connectionString: {
    secret: true,
    names: [
      'IOTHUB_DEVICE_CONNECTION_STRING',
      'DEVICE_CONNECTION_STRING',
      'IOTHUB_CONNECTION_STRING',
      'CONNECTION_STRING',
    ],
  },
  deviceKey: { secret: true, names: ['PROVISIONING_SYMMETRIC_KEY', 'IOTHUB_DEVICE_DPS_DEVICE_KEY'] },
} as const satisfies Record<string, { readonly secret: boolean; readonly names: readonly string[] }>

export type Meaning = keyof typeof meanings

/** A value of the old client and the place it stands in. A secret one is never shown. */
export interface OldValue {
  readonly value: string
  /** `DEVICE_ID in /etc/systemd/system/x.service`. */
  readonly where: string
}

export type OldValues = Readonly<Partial<Record<Meaning, OldValue>>>

/** The values that mean something, the first name of each meaning that is set. An empty one counts as unset. */
export function valuesOf(variables: ReadonlyMap<string, OldValue>): OldValues {
  const entries = Object.entries(meanings).flatMap(([meaning, { names }]) => {
    const name = names.find((each) => (variables.get(each)?.value ?? '') !== '')
    const found = name === undefined ? undefined : variables.get(name)
    return found === undefined ? [] : [[meaning, { ...found, where: `${name} in ${found.where}` }]]
  })
  return Object.fromEntries(entries) as OldValues
}

/** A device connection string that is written into a program. Bounded, so that no program makes it slow. */
const LITERAL = /["'](HostName=[A-Za-z0-9.-]{1,253};[^"'\r\n]{1,1024})["']/

/** @returns the connection string in a program's text, a secret */
export function literalIn(program: string): string | undefined {
  const text = LITERAL.exec(program)?.[1]
  return text !== undefined && /SharedAccessKey=/.test(text) ? text : undefined
}

/** The lane that the text of a program speaks; undefined when it speaks none or both. */
export function laneOfProgram(program: string): 'x509' | 'sas' | undefined {
  const x509 = /create_from_x509_certificate/.test(program)
  const sas = /create_from_(connection_string|symmetric_key|sastoken)/.test(program)
  if (x509 === sas) return undefined
  return x509 ? 'x509' : 'sas'
}
