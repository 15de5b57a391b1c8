import { obtainAtLast } from './certificate.ts'
import { isManagedKind } from './config/paths.ts'
import type { Attendance } from './connected.ts'
import { measureAbsence } from './credential/absence.ts'
import type { Audit } from './credential/audit.ts'
import { FILES, isSameRef, nameOf } from './credential/credential-ref.ts'
import type { CredentialRef } from './credential/credential-ref.ts'
import { destroySecret, IN_MEMORY, OUT_OF_REACH } from './credential/destroy.ts'
import { openJournal } from './credential/journal.ts'
import { activeOf } from './credential/lifecycle.ts'
import type { AuthChange, LinkEvents, Rotation, RotationPorts } from './credential/rotation-ports.ts'
import { createRotation } from './credential/rotation.ts'
import { secretPaths } from './credential/sas-secret.ts'
import { vaultKeysFor } from './credential/token-key.ts'
import { openVault } from './credential/vault.ts'
import { asFailure, Failure } from './failure.ts'
import { createLive } from './live.ts'
import type { Session } from './hub/session.ts'
import { keepConnected, reachForRehearsal } from './link.ts'
import { loadCredential, loadPair, loadPresent, readSas, refOf, takeInventory } from './loaded.ts'
import type { Credentials } from './loaded.ts'
import { readOnboarding } from './managed.ts'
import { obtainManaged } from './over-hub.ts'
import { livePolicyOf } from './policy.ts'
import type { ClockTrustWatch } from './time/watch.ts'

/** What the credentials of a running agent need beside their attendance. */
export interface AuthNeeds {
  readonly ca: string | undefined
  readonly audit: Audit
  readonly watch: ClockTrustWatch
  /** Sends a sample now if none is on its way, so that there is something to acknowledge. */
  readonly sendSomething: () => void
}

/** Well above all that one input may take: an inventory, a durable write, the end of a link. */
const TICKS_WITHIN_MS = 600_000

/**
 * Joins the life cycle of the credentials to vault, journal, issuer, DPS and hub, and reads where this device stands.
 *
 * @throws Failure KEY_EXPOSED, STATE_LINKED, STATE_UNWRITABLE and others that end a start
 */
export async function openAuth(needs: AuthNeeds, parts: Attendance): Promise<Rotation> {
  const { config, clock, random, log, facts } = parts
  const { audit, ca, sendSomething, watch } = needs
  const { stateDir } = config.paths
  const onTrouble = (failure: Failure) => log.failure(failure, { event: 'credentials' })
  const vault = await openVault(stateDir, clock, onTrouble, vaultKeysFor(config.auth.x509, clock))
  const journal = openJournal(stateDir, clock, onTrouble)
  const credentials: Credentials = { config, vault }
  const away = measureAbsence({ clock, trust: () => watch.current().trust, savedMs: watch.savedMs })
  const live = createLive<Session>()
  let toldLast = ''
  const tellOnce = (failure: Failure) => {
    if (failure.message !== toldLast) onTrouble(failure)
    toldLast = failure.message
  }
  const ports: RotationPorts = {
    ...{ clock, random, policy: livePolicyOf(config), onTrouble },
    limits: {
      get registerMs() {
        return config.auth.registerWithinSeconds * 1000
      },
      get proveMs() {
        return config.auth.proveWithinSeconds * 1000
      },
    },
    clockTrust: () => watch.current().trust,
    inventory: () => takeInventory(credentials, tellOnce),
    load: () => journal.load(),
    save: (record) => journal.save(record),
    pointer: () => vault.pointer(),
    activate: (ref) => vault.activate(ref),
    async obtain(signal) {
      if (isManagedKind(config.issuer.kind)) return obtainManaged({ vault, live, parts }, signal)
      return refOf(await obtainAtLast(vault, parts, signal))
    },
    async link(ref, start, events, signal) {
      const loaded = await loadCredential(ref, credentials).catch((error: unknown) => showUnreadable(error, parts))
      const fallback = 'pending' in loaded ? await loadPresent(credentials) : undefined
      const linkEvents = away.watched(watched(events, watch))
      await keepConnected({ loaded, fallback, vault, live, start, ca, events: linkEvents }, parts, signal)
    },
    async rehearse(ref) {
      const loaded = await loadCredential(ref, credentials).catch(asFailure)
      return loaded instanceof Failure ? loaded : reachForRehearsal(loaded, ca, parts)
    },
    onTick: () => facts.promises.set('credentials', clock.monotonicMs() + TICKS_WITHIN_MS),
    sendSomething,
    offlineMs: () => away.lastMs(),
    async destroySas() {
      const said = await destroySecret(secretPaths(config.auth.sas, process.env), process.env)
      log.warn('SAS is retired', { said })
      return said.filter((sentence) => sentence !== IN_MEMORY && sentence !== OUT_OF_REACH)
    },
    onChange(change) {
      tell(change, parts)
      entries(change).forEach((entry) => void audit.append(entry))
      parts.news.ring()
      if (change.event?.event === 'committed') prune(change, credentials).catch(report)
    },
    onWaiting: () => parts.news.ring(),
  }
  const report = (error: unknown) => onTrouble(asFailure(error))
  const rotation = await createRotation(ports)
  if (rotation.record().lifecycle.phase === 'newborn') await requireWhatIsConfigured(credentials)
  facts.rotation = rotation
  return rotation
}

/**
 * A device without a credential that its owner has given one says at once what is wrong with it, and ends: systemd starts
 * it again, and a certificate of its own would be waited for in vain.
 */
async function requireWhatIsConfigured({ config }: Credentials): Promise<void> {
  await loadPair(config)
  if (config.auth.born === 'sas') await readSas(config)
  if (isManagedKind(config.issuer.kind)) await readOnboarding(config)
}

/** What a wrong clock would explain makes it suspect, and what proves itself makes the present time a good one. */
function watched(events: LinkEvents, watch: ClockTrustWatch): LinkEvents {
  return {
    ...events,
    failed(failure) {
      if (failure.kind === 'refused' || failure.code === 'TLS_SERVER_DATES') watch.suspect()
      events.failed(failure)
    },
    twinRead() {
      void watch.proven()
      events.twinRead()
    },
  }
}

/** One line for each step, so that the journal alone tells the story. */
function tell({ record, before, event, move }: AuthChange, { log }: Attendance): void {
  const { lifecycle } = record
  if (event === undefined) return
  const active = activeOf(lifecycle)
  const facts = {
    event: event.event,
    active: active && nameOf(active),
    ...('candidate' in lifecycle && { candidate: nameOf(lifecycle.candidate) }),
    ...(move && { to: move.to, cause: move.cause, version: move.version }),
    ...('verdict' in event && { code: event.verdict.code, reason: event.verdict.reason }),
  }
  const text = `credentials: ${before.phase} → ${lifecycle.phase}`
  if (event.event === 'failed') log.warn(text, facts)
  else log.info(text, facts)
}

/** What of a change is worth a line in the audit trail: each step, and each end of SAS. */
function entries({ record, before, remembered, event, move }: AuthChange): Parameters<Audit['append']>[0][] {
  const { lifecycle, memory } = record
  if (event === undefined) {
    const { retirement } = memory
    if (retirement === undefined || retirement === remembered.retirement) return []
    return [{ what: 'retirement', done: retirement.done, left: retirement.left.length }]
  }
  const active = activeOf(lifecycle)
  if (event.event === 'restarted' && lifecycle.phase === 'steady' && isSameRef(active, activeOf(before))) return []
  return [
    {
      what: event.event,
      ...{ from: before.phase, to: lifecycle.phase },
      ...(active && { active: nameOf(active) }),
      ...('candidate' in lifecycle && { candidate: nameOf(lifecycle.candidate) }),
      ...(move && { lane: move.to, cause: move.cause }),
      ...(move?.version !== undefined && { version: move.version }),
      ...(move?.because !== undefined && { because: move.because }),
      ...('verdict' in event && { code: event.verdict.code, result: event.verdict.result }),
    },
  ]
}

/** Old generations go once a newer one has proved itself. */
async function prune({ record }: AuthChange, { vault }: Credentials): Promise<void> {
  const { fallenBack } = record.memory
  const needed: readonly (CredentialRef | undefined)[] = [activeOf(record.lifecycle), fallenBack?.from]
  await vault.prune(needed.flatMap((ref) => (ref?.lane === 'x509' && ref.generation !== FILES ? [ref.generation] : [])))
}

/** A device that cannot read its credential says so wherever it is asked; it looks again within half a minute. */
function showUnreadable(error: unknown, { clock, facts }: Attendance): never {
  const { connection } = facts
  if (connection.state === 'disconnected')
    facts.connection = { ...connection, doing: 'waiting', failure: asFailure(error), retryAtMs: clock.now() + 30_000 }
  throw error
}
