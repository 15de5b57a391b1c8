import { asFailure, Failure } from '../failure.ts'
import { chooseCandidate } from './candidate.ts'
import { createConnections } from './connections.ts'
import { FILES, isPending, isSameRef, pendingRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Waiting } from './due.ts'
import { judgeMove } from './judge-wish.ts'
import { activeOf, moveOf, next } from './lifecycle.ts'
import type { Lifecycle, LifecycleEvent, Move, Verdict } from './lifecycle.ts'
import type { LinkNews } from './links.ts'
import { withMove, withSpell } from './memory.ts'
import type { Memory } from './memory.ts'
import { createObtaining } from './obtaining.ts'
import type { Obtained } from './obtaining.ts'
import { backoffMs } from '../system/backoff.ts'
import { afterMove, afterSetback } from './outcome.ts'
import type { Inventory, PolicyFacts } from './policy.ts'
import { isProven, isRestored } from './proof.ts'
import type { RecordKeeper } from './record-keeper.ts'
import { recover } from './recover.ts'
import { isTerminalRefusal, withRefusal } from './refusals.ts'
import type { RotationPorts } from './rotation-ports.ts'
import { provenNow, wrongCredential } from './proven.ts'
import { latenessOf, refusalToPrepare, setbackOf } from './setback.ts'
import { hasThirdWay, wayBack } from './way-back.ts'
import { freshStep, startOf } from './step.ts'
import type { Step } from './step.ts'
import { firstTurn, isTurnOver, otherTurn } from './turn.ts'
import type { Turn } from './turn.ts'

/** Refusals by the hub that fail a proof: the first may be older than the registration, and DPS is asked once more. */
const REFUSALS_A_PROOF = 2

/** A credential that cannot be read is lost only after so many tries, half a minute apart: a disk may be late. */
const BREAKS_A_LOSS = 3

/** Between two rounds of a rollback in which nothing works: a fleet that is refused must not storm DPS. */
const ROUND_PAUSE = { baseMs: 120_000, capMs: 1_800_000 }

/** Takes the device through the phases of its life cycle. Each call is to be awaited before the next. */
export interface Mover {
  facts(): PolicyFacts
  inventory(): Inventory
  /** Looks at what is on the device. */
  look(): Promise<void>
  /** Takes one step of the life cycle, if there is such a step, with what is to be remembered of it. */
  advance(event: LifecycleEvent, remembered?: Memory): Promise<void>
  hear(news: LinkNews): Promise<void>
  /** @throws Failure of a device that has no other credential */
  obtained(obtained: Obtained): Promise<void>
  /** Looks at the deadlines. */
  tick(): Promise<void>
  /** Leaves out the pause before the next attempt, unless a session lives or a move is under way. */
  connectAgain(): Promise<void>
  /** Takes up what the last run left. */
  begin(): Promise<void>
  /** Leaves a rollback in which both credentials were refused, so that something else can be begun; else does nothing. */
  leaveStuck(): Promise<void>
  /** What keeps a candidate that is ready from its registration. */
  waiting(): Waiting | undefined
  /** Whether a session lives that has shown that its credential works. */
  isLive(): boolean
  /** Resolves when nothing runs any more. */
  stop(): Promise<void>
}

/** What a mover is made of beside its ports. */
export interface MoverNeeds {
  readonly keeper: RecordKeeper
  readonly inventory: Inventory
  /** Gives news back to `hear` and `obtained`, one at a time. */
  readonly tell: (news: LinkNews | Obtained) => void
  /** Called when the device has come to rest, and when its credential was refused: whatever is due may begin. */
  readonly atRest: () => Promise<void>
}

export function createMover(ports: RotationPorts, needs: MoverNeeds, signal: AbortSignal): Mover {
  const { clock, policy, limits, random } = ports
  const { keeper, tell, atRest } = needs
  const links = createConnections(ports, tell, signal)
  const obtaining = createObtaining(ports, tell, signal)
  let { inventory } = needs
  let ready: CredentialRef | undefined
  let waiting: Waiting | undefined
  let turn: Turn | undefined
  let step: Step = freshStep()
  let breaks = 0
  let rounds = 0
  let turnAtMs: number | undefined
  let needsRegistration = false

  const remember = (memory: Memory) => keeper.remember(memory)
  const here = () => keeper.now().lifecycle
  const memory = () => keeper.now().memory
  const facts = (): PolicyFacts => ({
    nowMs: clock.now(),
    clock: ports.clockTrust(),
    active: activeOf(here()),
    inventory,
    memory: memory(),
    policy,
    needsRegistration,
  })
  const look = async () => {
    const found = await ports.inventory().catch(asFailure)
    if (found instanceof Failure) ports.onTrouble(found)
    else inventory = found
  }

  const advance = async (event: LifecycleEvent, remembered: Memory = memory()) => {
    const before = here()
    const after = next(before, event)
    if (after !== before && (await keeper.keep(after, remembered, event))) await enter(before, after)
  }

  // --- what runs in each phase ---

  const stopObtaining = () => {
    obtaining.stop()
    ready = undefined
    waiting = undefined
  }

  const enter = async (before: Lifecycle, after: Lifecycle) => {
    step = freshStep()
    if (after.phase !== 'preparing' && after.phase !== 'newborn') stopObtaining()
    switch (after.phase) {
      case 'newborn':
        await links.stopAll()
        return obtaining.start()
      case 'steady':
        // The pointer outlives a lost record, so it names what is active, however that came about.
        await ports.activate(after.active).catch((error: unknown) => ports.onTrouble(asFailure(error)))
        await links.stopHeld()
        await linkWith(after.active)
        return look()
      case 'preparing':
        await linkWith(after.active)
        return prepare(after.move)
      case 'registering':
        await links.setAside()
        links.start(after.candidate, 'registerOnly')
        step.dueMs = clock.monotonicMs() + limits.registerMs
        return
      case 'proving':
        // One connection for one device ID: the old session ends before the new one begins.
        await links.stopHeld()
        step.dueMs = clock.monotonicMs() + limits.proveMs
        return
      case 'committing':
        await linkWith(after.candidate)
        return commit(after.candidate)
      case 'rollingBack':
        rounds = 0
        turnAtMs = undefined
        turn = firstTurn(clock.monotonicMs(), before.phase !== 'registering' || after.verdict.result !== 'refused')
        if (before.phase !== 'registering' || !links.isHeldLive()) {
          await links.stopAll()
          return links.start(wayBack(after, facts()), 'registerFirst')
        }
        // The old session may be the last that the old credential ever gets: it lives on until DPS has taken that one again.
        await links.stopCurrent()
        return links.start(wayBack(after, facts()), 'registerOnly')
    }
  }

  const linkWith = async (ref: CredentialRef) => {
    if (isSameRef(links.ref(), ref)) return
    await links.stopAll()
    links.start(ref, 'cached')
  }

  const prepare = async (move: Move) => {
    stopObtaining()
    await look()
    const candidate = chooseCandidate(move, facts())
    if (candidate === undefined) obtaining.start()
    else await beReady(candidate)
  }

  /** The last look before the step after which the cloud may forget the active credential. */
  const beReady = async (candidate: CredentialRef) => {
    const lifecycle = here()
    if (lifecycle.phase === 'newborn') {
      const { lostX509: _found, ...others } = memory()
      return advance({ event: 'prepared', candidate }, others)
    }
    if (lifecycle.phase !== 'preparing') return
    const { move } = lifecycle
    const judgement = judgeMove({ ...move, candidate }, facts())
    if (judgement.verdict === 'rejected') {
      const { code, reason } = judgement
      return setback({ result: 'rejected', code, reason }, candidate)
    }
    ready = candidate
    waiting = judgement.verdict === 'wait' ? judgement : undefined
    if (waiting !== undefined) return
    await advance({ event: 'prepared', candidate }, withMove(memory(), move, clock.now()))
  }

  const commit = async (candidate: CredentialRef) => {
    const failure = await ports.activate(candidate).then(() => undefined, asFailure)
    if (failure !== undefined) {
      if (step.lastFailure?.code !== failure.code) ports.onTrouble(failure)
      step.lastFailure = failure
      return mend()
    }
    const ending = endingOf(here())
    await advance({ event: 'committed' }, ending === undefined ? memory() : afterMove(memory(), ending))
    await atRest()
  }

  /** The move has failed: back to where it began. */
  const setback = async (verdict: Verdict, candidate?: CredentialRef) => {
    const ending = endingOf(here(), candidate)
    const isOver = here().phase === 'preparing' && ending !== undefined
    await advance({ event: 'failed', verdict }, isOver ? afterSetback(memory(), verdict, ending) : memory())
  }
  const endingOf = (lifecycle: Lifecycle, candidate?: CredentialRef) => {
    const move = moveOf(lifecycle)
    const active = activeOf(lifecycle)
    const which = 'candidate' in lifecycle ? lifecycle.candidate : (candidate ?? active)
    if (move === undefined || active === undefined || which === undefined) return undefined
    const hasPair = inventory.certificates.some(({ ref }) => ref.generation === FILES)
    return { move, active, candidate: which, hasPair, nowMs: clock.now(), policy, random }
  }

  // --- what the links tell ---

  const hear = async (news: LinkNews) => {
    const ref = links.ref()
    const wasAcknowledged = links.proof().acknowledged
    // What a stopped link still had to say is of no use, and the old session in the background only lives on.
    if (!links.note(news) || ref === undefined) return news.news === 'registered' ? news.goOn() : undefined
    switch (news.news) {
      case 'registered':
        await registered(ref, news)
        return news.goOn()
      case 'connected':
        return
      case 'twinRead':
        return shown(ref)
      case 'acknowledged':
        return wasAcknowledged ? undefined : shown(ref)
      case 'broken':
        ports.onTrouble(news.failure)
        // No memory of DPS stands behind this.
        if (turn !== undefined) turn = { ...turn, mayBeCached: false }
        breaks += 1
        await failed(ref, news.failure)
        return breaks >= BREAKS_A_LOSS ? mend() : undefined
      case 'failed':
        return failed(ref, news.failure)
    }
  }

  /** A credential that cannot be read any more is not the cloud's word against it, and no reason to have none. */
  const mend = async () => {
    const lifecycle = here()
    if (lifecycle.phase === 'registering' || lifecycle.phase === 'proving' || lifecycle.phase === 'rollingBack') return
    await look()
    // What did not answer so often counts as gone.
    const found = { ...facts(), inventory: { ...inventory, outOfReach: [] } }
    const mended = recover({ ...found, record: keeper.now(), pointer: undefined, random })
    if (mended.lifecycle.phase === lifecycle.phase && isSameRef(activeOf(mended.lifecycle), activeOf(lifecycle))) return
    if (mended.lifecycle.phase === 'newborn' && lifecycle.phase === 'newborn') return
    stopObtaining()
    await keeper.keep(mended.lifecycle, mended.memory, { event: 'restarted' })
    await enter(lifecycle, mended.lifecycle)
  }

  const registered = async (ref: CredentialRef, { byDps, issued }: Extract<LinkNews, { news: 'registered' }>) => {
    if (issued !== undefined) await taken(issued)
    const lifecycle = here()
    const of = issued ?? ref
    const registeredNow = byDps ? { ...memory(), lastRegistration: { of, atMs: clock.now() } } : memory()
    // One connection for one device ID: the old session ends before the new one begins.
    if (lifecycle.phase === 'rollingBack') await links.stopHeld()
    if (lifecycle.phase === 'registering') return advance({ event: 'registered' }, registeredNow)
    await remember(registeredNow)
    if (turn !== undefined && 'candidate' in lifecycle && isSameRef(of, lifecycle.candidate))
      turn = { ...turn, mayBeCached: true }
  }

  /** A certificate came with the registration: it is the one that the link goes on with. */
  const taken = async (by: CredentialRef) => {
    const { phase } = here()
    const isMove = phase === 'registering' || phase === 'rollingBack'
    const isCandidate = phase === 'registering' || (isMove && turn?.of === 'candidate')
    const event = { event: 'issued', instead: isCandidate ? 'candidate' : 'active', by } as const
    await keeper.keep(next(here(), event), memory(), event)
    // A device that had none before has nothing better to point to; where a move ends, it has proved itself.
    if (!isMove) await ports.activate(by).catch((error: unknown) => ports.onTrouble(asFailure(error)))
    await look()
  }

  /** A session has shown more of its credential. */
  const shown = async (ref: CredentialRef) => {
    const lifecycle = here()
    const proof = links.proof()
    // While a registration fails that would bring a certificate, the link shows the one that the device has.
    if (isPending(ref) && lifecycle.phase === 'rollingBack' && isRestored(proof, lifecycle.active))
      return restore(lifecycle)
    if (!isRestored(proof, ref)) {
      if (proof.twinRead) ports.onTrouble(wrongCredential(ref, proof.presented))
      return
    }
    step.refusals = 0
    breaks = 0
    needsRegistration = false
    switch (lifecycle.phase) {
      case 'newborn':
      case 'committing':
      case 'registering':
        return
      case 'steady':
      case 'preparing':
        return remember(withSpell(provenNow(memory(), ref, facts()), ports.offlineMs?.() ?? 0))
      case 'proving':
        return isProven(proof, ref) ? advance({ event: 'proved' }) : ports.sendSomething()
      case 'rollingBack':
        if (isSameRef(ref, lifecycle.active) && (await wasActive(ref))) return restore(lifecycle)
        if (isSameRef(ref, lifecycle.active)) return isProven(proof, ref) ? restore(lifecycle) : ports.sendSomething()
        return isProven(proof, ref) ? advance({ event: 'proved' }) : ports.sendSomething()
    }
  }

  /** A certificate that came on the way back has never been in use: it proves itself as a candidate does. */
  const wasActive = async (ref: CredentialRef) => {
    const pointer = await ports.pointer()
    return pointer === undefined || isSameRef(pointer, ref)
  }

  const restore = async (lifecycle: Extract<Lifecycle, { phase: 'rollingBack' }>) => {
    const ending = endingOf(lifecycle)
    turn = undefined
    const remembered = ending === undefined ? memory() : afterSetback(memory(), lifecycle.verdict, ending)
    await advance({ event: 'restored' }, remembered)
    await atRest()
  }

  /**
   * Both were refused by the cloud itself. The device stays with the old credential, which goes on to be tried; what a
   * refused device may do is open again (another certificate, a fallback, an order), and the move is tried again later.
   */
  const giveUp = async (lifecycle: Extract<Lifecycle, { phase: 'rollingBack' }>) => {
    const ending = endingOf(lifecycle)
    turn = undefined
    const unsettled = { ...lifecycle.verdict, result: 'rolledBack' } as const
    await advance({ event: 'exhausted' }, ending === undefined ? memory() : afterSetback(memory(), unsettled, ending))
    await atRest()
  }

  const failed = async (ref: CredentialRef, failure: Failure) => {
    step.lastFailure = failure
    const isRefused = failure.kind !== 'transient'
    if (isRefused) step.refusals += 1
    switch (here().phase) {
      case 'newborn':
      case 'committing':
        return
      case 'registering':
        return isRefused ? setback(setbackOf(failure, ref, memory(), clock.now())) : undefined
      case 'proving':
        return step.refusals >= REFUSALS_A_PROOF ? setback(setbackOf(failure, ref, memory(), clock.now())) : undefined
      case 'rollingBack':
        if (failure.code === 'DPS_CSR_NEEDED' && turn?.of === 'active') {
          // The hub does not know it any more: DPS makes the identity anew with another certificate.
          await links.stopAll()
          return links.start(pendingRef, 'registerFirst')
        }
        if (turn !== undefined)
          turn = { ...turn, failures: turn.failures + 1, refusals: turn.refusals + (isRefused ? 1 : 0) }
        if (turn?.of === 'active' && isTerminalRefusal(failure, ref, facts()))
          await remember(withRefusal(memory(), ref, failure, clock.now()))
        return links.isHeldLive() ? liveOn() : takeTurns(isRefused)
      case 'steady':
      case 'preparing':
        if (failure.code === 'DPS_CSR_NEEDED') {
          needsRegistration = true
          return atRest()
        }
        if (!isTerminalRefusal(failure, ref, facts())) return
        await remember(withRefusal(memory(), ref, failure, clock.now()))
        return atRest()
    }
  }

  /** The old credential cannot be registered again, but its session lives: the device is where it was. */
  const liveOn = async () => {
    await links.takeBack()
    const lifecycle = here()
    if (lifecycle.phase === 'rollingBack' && links.isLive()) await restore(lifecycle)
  }

  const takeTurns = async (isRefused: boolean) => {
    const lifecycle = here()
    const nowMs = clock.monotonicMs()
    if (lifecycle.phase !== 'rollingBack' || turn === undefined || !isTurnOver(turn, nowMs, isRefused)) return
    if (turn.of === 'candidate') rounds += 1
    if (isStuck() && hasThirdWay(lifecycle, facts())) return giveUp(lifecycle)
    const pauseMs = turn.of === 'candidate' ? backoffMs(rounds - 1, ROUND_PAUSE, random) : 0
    turn = otherTurn(turn, nowMs + pauseMs)
    turnAtMs = nowMs + pauseMs
    await links.stopAll()
    step = freshStep()
    beginTurn()
  }

  const beginTurn = () => {
    const lifecycle = here()
    if (lifecycle.phase !== 'rollingBack' || turn === undefined || turnAtMs === undefined) return
    if (clock.monotonicMs() < turnAtMs) return
    turnAtMs = undefined
    links.start(turn.of === 'active' ? wayBack(lifecycle, facts()) : lifecycle.candidate, 'registerFirst')
  }

  /** Both had their turn, and the cloud itself refused the old credential. */
  const isStuck = () => {
    const lifecycle = here()
    return lifecycle.phase === 'rollingBack' && rounds > 0 && isSameRef(memory().refusals?.of, lifecycle.active)
  }

  return {
    facts,
    look,
    advance,
    hear,
    inventory: () => inventory,
    waiting: () => waiting,
    isLive: () => links.isLive(),
    stop: () => links.stopAll(),
    begin: () => enter(here(), here()),
    async leaveStuck() {
      const lifecycle = here()
      if (lifecycle.phase === 'rollingBack' && isStuck()) await giveUp(lifecycle)
    },
    async connectAgain() {
      const lifecycle = here()
      if (links.isLive() || (lifecycle.phase !== 'steady' && lifecycle.phase !== 'preparing')) return
      await links.stopAll()
      links.start(lifecycle.active, 'cached')
    },
    async obtained({ outcome, by }) {
      if (by.aborted) return
      await look()
      if (!(outcome instanceof Failure)) return beReady(outcome)
      if (here().phase === 'newborn') throw outcome
      await setback(refusalToPrepare(outcome))
    },
    async tick() {
      const nowMs = clock.monotonicMs()
      links.mendBroken(startOf(here()))
      if (here().phase === 'newborn') await mend()
      const lifecycle = here()
      const ref = links.ref()
      if (lifecycle.phase === 'steady' && links.isLive() && ref !== undefined)
        await remember(provenNow(memory(), ref, facts()))
      if (lifecycle.phase === 'committing') return commit(lifecycle.candidate)
      if (step.dueMs !== undefined && step.dueMs <= nowMs) {
        const code = lifecycle.phase === 'registering' ? 'AUTH_REGISTER_LATE' : 'AUTH_PROOF_LATE'
        return setback(latenessOf(code, step.lastFailure))
      }
      await takeTurns(false)
      beginTurn()
      if (ready !== undefined) await beReady(ready)
    },
  }
}
