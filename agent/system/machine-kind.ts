/** What tells one machine from another, strongest first. Why these: docs/decisions/machine-identity.md. */
export const machineKinds = ['deviceTreeSerial', 'socSerial', 'productUuid', 'productSerial', 'macs'] as const

export type MachineKind = (typeof machineKinds)[number]

/** What a machine says of itself: for each kind that it shows at least one value. */
export type MachineIdentity = Readonly<Partial<Record<MachineKind, readonly string[]>>>

/** What people call each kind. */
export const machineWords: Readonly<Record<MachineKind, string>> = {
  deviceTreeSerial: 'serial number in the device tree',
  socSerial: 'serial number of the processor',
  productUuid: 'product UUID (DMI)',
  productSerial: 'product serial number (DMI)',
  macs: 'network addresses',
}
