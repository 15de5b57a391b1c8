import type { CredentialRef } from './credential-ref.ts'
import { startLink } from './links.ts'
import type { LinkNews, RunningLink } from './links.ts'
import { isRestored, noProof } from './proof.ts'
import type { Proof } from './proof.ts'
import type { LinkStart, RotationPorts } from './rotation-ports.ts'

/** The link that matters now, and the one that only lives on while a candidate registers. */
export interface Connections {
  /** The credential of the present link; undefined when there is none. */
  ref(): CredentialRef | undefined
  /** What the present connection has shown. */
  proof(): Proof
  /** Whether a session lives that has shown that its credential works. */
  isLive(): boolean
  start(ref: CredentialRef, how: LinkStart): void
  /** Lets the session of the present link live beside the next link, but only if it has one. */
  setAside(): Promise<void>
  /** Whether the session that was set aside still lives. */
  isHeldLive(): boolean
  /** Ends the present link, and makes the one that was set aside the present one again. */
  takeBack(): Promise<void>
  stopHeld(): Promise<void>
  /** Ends the present link, and leaves the one that was set aside. */
  stopCurrent(): Promise<void>
  stopAll(): Promise<void>
  /** Takes note of news; false for what a link has to say that does not matter any more. */
  note(news: LinkNews): boolean
  /** Begins again, after a while, what broke before it could begin. `how` says how the present phase begins a link. */
  mendBroken(how: LinkStart): void
}

/** A link that broke is begun again after this, in milliseconds. */
const LINK_AGAIN_MS = 30_000

export function createConnections(
  ports: Pick<RotationPorts, 'clock' | 'link'>,
  tell: (news: LinkNews) => void,
  signal: AbortSignal,
): Connections {
  let count = 0
  let current: RunningLink | undefined
  let held: RunningLink | undefined
  let broken: { readonly ref: CredentialRef; readonly againAtMs: number } | undefined
  let proof: Proof = noProof
  let heldProof: Proof = noProof

  const start = (ref: CredentialRef, how: LinkStart) => {
    count += 1
    broken = undefined
    proof = noProof
    current = startLink({ id: count, ref, start: how }, ports, tell, signal)
  }
  return {
    ref: () => current?.ref ?? broken?.ref,
    proof: () => proof,
    isLive: () => current !== undefined && isRestored(proof, current.ref),
    start,
    async setAside() {
      // What is not connected at this moment might register, and undo what is begun beside it.
      current?.hold()
      if (current?.isConnected() === true) held = current
      else await current?.stop()
      heldProof = proof
      current = undefined
    },
    isHeldLive: () => held?.isConnected() === true,
    async takeBack() {
      await current?.stop()
      current = held
      proof = heldProof
      held = undefined
      current?.release()
    },
    async stopCurrent() {
      await current?.stop()
      current = undefined
      broken = undefined
    },
    async stopHeld() {
      await held?.stop()
      held = undefined
    },
    async stopAll() {
      await Promise.all([held?.stop(), current?.stop()])
      held = undefined
      current = undefined
      broken = undefined
    },
    note(news) {
      if (news.id === held?.id) heldProof = proofAfter(heldProof, news)
      if (current === undefined || news.id !== current.id) return false
      proof = proofAfter(proof, news)
      if (news.news === 'broken') {
        broken = { ref: current.ref, againAtMs: ports.clock.monotonicMs() + LINK_AGAIN_MS }
        current = undefined
      }
      return true
    },
    mendBroken(how) {
      if (broken !== undefined && broken.againAtMs <= ports.clock.monotonicMs()) start(broken.ref, how)
    },
  }
}

/** Each connection begins to prove its credential anew. */
function proofAfter(proof: Proof, news: LinkNews): Proof {
  switch (news.news) {
    case 'connected':
      return { ...noProof, presented: news.presented }
    case 'twinRead':
      return { ...proof, twinRead: true }
    case 'acknowledged':
      return { ...proof, acknowledged: true }
    case 'failed':
    case 'broken':
      return noProof
    case 'registered':
      return proof
  }
}
