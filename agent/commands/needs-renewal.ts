import { loadCredentialFiles } from '../credential/files.ts'
import { openJournal } from '../credential/journal.ts'
import { planRenewal, shareOf } from '../credential/renewal.ts'
import type { RenewalPlan, RenewalPolicy } from '../credential/renewal.ts'
import { vaultKeysFor } from '../credential/token-key.ts'
import { openVault } from '../credential/vault.ts'
import type { X509Credential } from '../credential/x509-credential.ts'
import { printRepairs, reportFailure } from './credential-command.ts'
import type { CommandEnvironment, CredentialSettings } from './credential-command.ts'

export interface NeedsRenewalOptions extends CredentialSettings {
  readonly renewal: RenewalPolicy
  readonly json: boolean
}

/** The exit codes of this command, which scripts ask. Source: ARCHITECTURE.md, "Commands and exit codes". */
export const renewalExits = { yes: 0, notYet: 1, noCertificate: 2 } as const

/**
 * `needs-renewal`: whether the certificate of this device is to be renewed by now, whether the agent runs or not. A pair
 * of files is judged too, although its owner is the one to renew it. A failure to read anything gives `noCertificate`.
 */
export async function runNeedsRenewal(options: NeedsRenewalOptions, environment: CommandEnvironment): Promise<number> {
  let exit: number = renewalExits.noCertificate
  await reportFailure(environment, async () => {
    await environment.actAsOwner(options.stateDir)
    const credential = await presentCredential(options, environment)
    exit = credential === undefined ? tellNone(options, environment) : await tell(credential, options, environment)
    return exit
  })
  return exit
}

async function presentCredential(
  options: NeedsRenewalOptions,
  environment: CommandEnvironment,
): Promise<X509Credential | undefined> {
  const { pair, stateDir } = options
  const keys = vaultKeysFor(options, environment.clock)
  const vault = await openVault(stateDir, environment.clock, printRepairs(environment), keys)
  const record = await openJournal(stateDir, environment.clock, printRepairs(environment)).load()
  if (pair !== undefined && record?.memory.leftFiles === undefined)
    return loadCredentialFiles({ certPath: pair.certificateFile, keyPath: pair.keyFile })
  return vault.active()
}

async function tell(
  credential: X509Credential,
  options: NeedsRenewalOptions,
  environment: CommandEnvironment,
): Promise<number> {
  const { clock, stdout } = environment
  const { notBefore, notAfter, thumbprintSha256 } = credential.facts
  const memory = (await openJournal(options.stateDir, clock, printRepairs(environment)).load())?.memory
  const isOfThis = memory?.renewal?.of.lane === 'x509' && memory.renewal.of.generation === credential.generation
  const certificate = {
    ...{ notBeforeMs: Date.parse(notBefore), notAfterMs: Date.parse(notAfter), share: shareOf(thumbprintSha256) },
    acceptedAtMs: credential.acceptedAtMs,
  }
  const attempts = isOfThis ? memory?.renewal : undefined
  const plan = planRenewal(certificate, attempts, memory?.longestOfflineMs ?? 0, options.renewal, clock.now())
  const renewAt = new Date(plan.renewAtMs).toISOString()
  const needsRenewal = plan.state !== 'notYet'
  const said = {
    needsRenewal,
    state: plan.state,
    renewAt,
    notAfter,
    thumbprintSha256,
    renewedBy: renewerOf(credential, options),
  }
  stdout(options.json ? `${JSON.stringify(said)}\n` : `${sentenceOf(plan, said)}\n`)
  return needsRenewal ? renewalExits.yes : renewalExits.notYet
}

function renewerOf({ origin }: X509Credential, { renewal }: NeedsRenewalOptions): 'agent' | 'owner' {
  return origin === 'vault' && renewal.enabled ? 'agent' : 'owner'
}

function sentenceOf(
  { state }: RenewalPlan,
  { renewAt, notAfter, renewedBy }: { readonly renewAt: string; readonly notAfter: string; readonly renewedBy: string },
): string {
  const who =
    renewedBy === 'agent' ? 'the agent does that by itself' : 'the agent does not do that: iot-device-agent renew'
  switch (state) {
    case 'notYet':
      return `not yet: to be renewed from ${renewAt} on (${who}); valid until ${notAfter}`
    case 'due':
      return `yes: to be renewed since ${renewAt} (${who}); valid until ${notAfter}`
    case 'expired':
      return `yes: it expired on ${notAfter} (${who})`
  }
}

function tellNone({ json }: NeedsRenewalOptions, { stdout }: CommandEnvironment): number {
  stdout(json ? `${JSON.stringify({ needsRenewal: null })}\n` : 'no certificate: iot-device-agent csr\n')
  return renewalExits.noCertificate
}
