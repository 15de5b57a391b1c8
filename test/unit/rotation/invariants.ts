import { isDeepStrictEqual } from 'node:util'
import { isPending, isSameRef, nameOf } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { parseRecord } from '../../../agent/credential/journal.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import type { Lifecycle, Move } from '../../../agent/credential/lifecycle.ts'
import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import type { AuthChange } from '../../../agent/credential/rotation-ports.ts'
import type { Machine } from './machine.ts'

/** Holds each step of a device against what must never happen. */
export interface Invariants {
  /** After the change was saved. */
  changed(change: AuthChange): void
  /** Before the pointer is written. */
  activating(ref: CredentialRef): void
  /** Before a credential is presented to DPS or a hub. */
  using(ref: CredentialRef, where: string): void
  /** Whenever the device is at rest. */
  resting(record: AuthRecord): void
  wrong(what: string): void
  readonly violations: readonly string[]
}

const DAY_MS = 86_400_000

export function createInvariants(machine: Machine, policy: AuthPolicy): Invariants {
  const violations: string[] = []
  let shown: AuthRecord | undefined
  let known: { readonly text: string | undefined; readonly record: AuthRecord | undefined } = {
    text: undefined,
    record: undefined,
  }

  const wrong = (what: string) => {
    machine.note(`WRONG: ${what}`)
    violations.push(what)
  }
  const onDisk = () => {
    const text = machine.world().disk.record
    if (text !== known.text) known = { text, record: recordOf(text) }
    return known.record
  }

  return {
    violations,
    wrong,
    changed(change) {
      const { record, before, event } = change
      shown = record
      machine.note(
        `life cycle: ${said(record.lifecycle)}${event === undefined ? ', with more to remember' : ` (${event.event})`}`,
      )
      if (!machine.world().disk.isFull && !isDeepStrictEqual(onDisk(), record))
        wrong('a change was told that is not on disk')
      if (isBegun(before, record.lifecycle)) judgeBeginning(record)
      if (laneOf(before) === 'x509' && laneOf(record.lifecycle) === 'sas' && event?.event !== 'committed')
        wrong('SAS has become active without a move')
      const ended = record.memory.history.at(-1)
      if (ended === undefined || event === undefined) return
      if (event.event === 'issued') return
      if (event.event === 'committed' && (ended.result !== 'active' || activeName(record) !== candidateName(before)))
        wrong(`a commit is told as ${ended.result} with ${activeName(record)} active`)
      if (event.event === 'restored' && (ended.result === 'active' || activeName(record) !== activeNameOf(before)))
        wrong(`a rollback is told as ${ended.result} with ${activeName(record)} active`)
    },
    activating(ref) {
      const { disk, tally } = machine.world()
      // What DPS issues to a device that has nothing takes the place of nothing.
      if (isPending(disk.pointer)) return
      if (disk.pointer === undefined || isSameRef(disk.pointer, ref) || tally.proven.includes(nameOf(ref))) return
      wrong(`${nameOf(ref)} becomes the active credential without a proof`)
    },
    using(ref, where) {
      const record = onDisk()
      if (record === undefined || machine.world().disk.isFull) return
      const { lifecycle, memory } = record
      if (ref.lane === 'sas' && memory.retirement !== undefined) wrong(`SAS is used at ${where} although it is retired`)
      const named = [activeNameOf(lifecycle), candidateName(lifecycle)]
      // The way back to a certificate of DPS may be another one.
      if (lifecycle.phase === 'rollingBack' && isPending(ref)) return
      if (lifecycle.phase !== 'newborn' && !named.includes(nameOf(ref)))
        wrong(`${nameOf(ref)} is used at ${where}, and the record on disk does not name it`)
    },
    resting(record) {
      if (shown !== undefined && shown !== record && !isDeepStrictEqual(shown, record))
        wrong('the record has changed and nobody was told')
    },
  }

  /** The candidate is about to be registered: is that allowed? */
  function judgeBeginning({ lifecycle, memory }: AuthRecord): void {
    if (lifecycle.phase !== 'registering') return
    const { candidate, active, move } = lifecycle
    const nowMs = machine.clock.now()
    countMove()
    if (candidate.lane === 'sas' && active.lane === 'x509') judgeDowngrade(move, memory.fallbacks, nowMs)
  }

  /** By true time, and not by what the device remembers. */
  function countMove(): void {
    const { tally } = machine.world()
    const trueMs = machine.trueMs()
    const isOfToday = (ms: number) => ms > trueMs - DAY_MS
    const moves = [...tally.moves, trueMs].filter(isOfToday)
    machine.change({ tally: { ...tally, moves } })
    const days = 1 + tally.upsets.filter(isOfToday).length
    if (moves.length > policy.movesPerDay * days) wrong(`${moves.length} moves in a day, of ${policy.movesPerDay}`)
  }

  function judgeDowngrade(move: Move, fallbacks: readonly number[], nowMs: number): void {
    const { enabled, untilMs, perDay } = policy.fallback
    if (move.cause !== 'fallback') {
      const isWish = ['twin', 'command', 'method'].includes(move.cause)
      if (!isWish || !policy.downgradeAllowed) wrong(`a move to SAS begins that the policy forbids: ${move.cause}`)
      return
    }
    if (!enabled) wrong('a fallback begins that the policy does not have')
    if (untilMs === undefined || move.atMs >= untilMs) wrong('a fallback begins after the end of all fallbacks')
    const spent = fallbacks.filter((ms) => ms > nowMs - DAY_MS).length
    if (spent > perDay) wrong(`${spent} fallbacks in a day, of ${perDay}`)
  }
}

export function recordOf(text: string | undefined): AuthRecord | undefined {
  if (text === undefined) return undefined
  const parsed = parseRecord(text)
  return parsed.ok ? parsed.value : undefined
}

function isBegun(before: Lifecycle, after: Lifecycle): boolean {
  return after.phase === 'registering' && before.phase !== 'registering'
}

function activeName({ lifecycle }: AuthRecord): string | undefined {
  return activeNameOf(lifecycle)
}

function activeNameOf(lifecycle: Lifecycle): string | undefined {
  return 'active' in lifecycle ? nameOf(lifecycle.active) : undefined
}

function laneOf(lifecycle: Lifecycle): string | undefined {
  return 'active' in lifecycle ? lifecycle.active.lane : undefined
}

function candidateName(lifecycle: Lifecycle): string | undefined {
  return 'candidate' in lifecycle ? nameOf(lifecycle.candidate) : undefined
}

function said(lifecycle: Lifecycle): string {
  const candidate = candidateName(lifecycle)
  const names = [activeNameOf(lifecycle), candidate && `→ ${candidate}`].filter((each) => each !== undefined)
  return [lifecycle.phase, ...names].join(' ')
}
