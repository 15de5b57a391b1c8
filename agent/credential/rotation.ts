import { asFailure, Failure } from '../failure.ts'
import { createInbox } from '../system/inbox.ts'
import { asOfNow } from './as-of-now.ts'
import { chooseCandidate } from './candidate.ts'
import type { CredentialRef } from './credential-ref.ts'
import { judgeDue } from './due.ts'
import type { Waiting } from './due.ts'
import { judgeMove } from './judge-wish.ts'
import { activeOf } from './lifecycle.ts'
import type { LinkNews } from './links.ts'
import { withAttempt, withSettled } from './memory.ts'
import { createMover } from './mover.ts'
import type { Mover } from './mover.ts'
import type { Obtained } from './obtaining.ts'
import { answerOf, moveOfOrder, rehearsed } from './order.ts'
import type { Inventory } from './policy.ts'
import { createRecordKeeper } from './record-keeper.ts'
import { recover } from './recover.ts'
import type { AuthOrder, AuthWishes, OrderAnswer, Rotation, RotationPorts } from './rotation-ports.ts'

/** Whatever hangs on time is looked at so often, in milliseconds: absolute deadlines on short ticks. */
const TICK_MS = 5_000

/** Orders that wait for their turn; whoever may use the socket must not keep the device from its own work. */
const MAX_ORDERS = 4

/** What came of an order; `shown` is the credential with which a rehearsal goes on outside. */
interface Taken {
  readonly answer: OrderAnswer
  readonly shown?: CredentialRef
}

type Input =
  | LinkNews
  | Obtained
  | { readonly news: 'wishes'; readonly wishes: AuthWishes }
  | { readonly news: 'order'; readonly order: AuthOrder; readonly answer: (taken: Taken) => void }
  | { readonly news: 'tick' | 'clockMended' }

/**
 * Drives the life cycle of the credentials: one input after the other, each step saved before it is taken. Reads where
 * the device stands, and rolls back or repeats what a restart has interrupted.
 *
 * @throws Failure of the ports that read
 */
export async function createRotation(ports: RotationPorts): Promise<Rotation> {
  const { clock, policy, random } = ports
  const inbox = createInbox<Input>()
  const inventory: Inventory = await ports.inventory()
  const found = { record: await ports.load(), pointer: await ports.pointer(), inventory, policy, random }
  const keeper = createRecordKeeper(recover({ ...found, nowMs: clock.now(), clock: ports.clockTrust() }), ports)
  let mover: Mover | undefined
  let wishes: AuthWishes | undefined
  let waiting: Waiting | undefined
  let toldWaiting: Waiting['code'] | undefined
  let ticked = false
  let orders = 0
  let isRehearsing = false

  const memory = () => keeper.now().memory
  const tell = (news: LinkNews | Obtained) => inbox.put(news)

  /** Begins what is due; what else is due comes with the next tick. */
  const consider = async (device: Mover): Promise<void> => {
    const due = judgeDue(keeper.now().lifecycle, wishes, device.facts())
    waiting = due.due === 'nothing' ? due.waiting : undefined
    switch (due.due) {
      case 'nothing':
        return undefined
      case 'move':
        return device.advance({ event: 'wanted', move: due.move })
      case 'withdraw':
        return device.advance({ event: 'withdrawn' })
      case 'contentment': {
        const { fallenBack: _wanted, retry: _over, ...others } = memory()
        return keeper.remember(others)
      }
      case 'overtaken': {
        const { retry: _over, ...others } = memory()
        return keeper.remember(others)
      }
      case 'fulfilled':
        return keeper.remember({ ...memory(), settledVersion: due.version, settledTo: due.to })
      case 'reject':
        return keeper.remember(withSettled(withAttempt(memory(), due.move, due.verdict, clock.now()), due.move))
      case 'retire':
        // Only a session that lives shows that X.509 works at this moment.
        return memory().retirement !== undefined || device.isLive() ? retire(device) : undefined
    }
  }

  /** Said before it is done, so that no power cut brings the secret back into use. */
  const retire = async (device: Mover) => {
    const { retirement = { atMs: clock.now(), done: false, left: [] } } = memory()
    await keeper.remember({ ...memory(), retirement })
    if (keeper.isUnsaved()) return
    const left = await ports.destroySas().catch(asFailure)
    if (left instanceof Failure) return ports.onTrouble(left)
    await keeper.remember({ ...memory(), retirement: { ...retirement, done: true, left } })
    await device.look()
  }

  const take = async (order: AuthOrder, device: Mover): Promise<Taken> => {
    if (!order.rehearse) await device.leaveStuck()
    const { lifecycle } = keeper.now()
    if (lifecycle.phase === 'newborn') return { answer: busy('the first certificate is awaited') }
    if (lifecycle.phase !== 'steady' && lifecycle.phase !== 'preparing')
      return { answer: busy(`the device is ${lifecycle.phase}`) }
    await device.look()
    const move = moveOfOrder(order, activeOf(lifecycle), clock.now())
    const judgement = judgeMove(move, device.facts())
    const candidate = judgement.verdict === 'go' ? chooseCandidate(move, device.facts()) : undefined
    if (judgement.verdict === 'go' && !order.rehearse) await device.advance({ event: 'wanted', move })
    const answer = answerOf(judgement, { move, active: lifecycle.active, candidate }, order.rehearse)
    const isGood = order.rehearse && judgement.verdict === 'go'
    return { answer, ...(isGood && { shown: candidate ?? lifecycle.active }) }
  }

  /** DPS is on the way of every move, whichever credential shows that it can be reached. */
  const rehearse = async (answer: OrderAnswer, shown: CredentialRef): Promise<OrderAnswer> => {
    if (isRehearsing) return busy('another rehearsal is under way')
    isRehearsing = true
    const obstacle = await ports.rehearse?.(shown).finally(() => {
      isRehearsing = false
    })
    return rehearsed(answer, obstacle)
  }

  const tick = async (device: Mover) => {
    ticked = false
    ports.onTick?.()
    if (keeper.isUnsaved()) await keeper.save()
    await keeper.remember(asOfNow(memory(), ports.clockTrust(), clock.now()))
    await device.tick()
    await consider(device)
  }

  const handle = async (input: Input, device: Mover): Promise<void> => {
    switch (input.news) {
      case 'obtained':
        return device.obtained(input)
      case 'wishes':
        wishes = input.wishes
        return consider(device)
      case 'order':
        return input.answer(await take(input.order, device))
      case 'tick':
        return tick(device)
      case 'clockMended':
        return device.connectAgain()
      case 'registered':
      case 'connected':
      case 'twinRead':
      case 'acknowledged':
      case 'failed':
      case 'broken':
        return device.hear(input)
    }
  }

  /** No record holds it, so nobody would hear of it. */
  const tellWaiting = (device: Mover) => {
    const code = (device.waiting() ?? waiting)?.code
    if (code !== toldWaiting) ports.onWaiting?.()
    toldWaiting = code
  }

  const everyTick = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await clock.wait(TICK_MS, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
      if (!ticked) inbox.put({ news: 'tick' })
      ticked = true
    }
  }

  return {
    record: () => keeper.now(),
    inventory: () => mover?.inventory() ?? inventory,
    waiting: () => mover?.waiting() ?? waiting,
    wish: (wished) => inbox.put({ news: 'wishes', wishes: wished }),
    clockMended: () => inbox.put({ news: 'clockMended' }),
    async order(order) {
      if (mover === undefined) return busy('the agent waits for its clock')
      if (orders >= MAX_ORDERS) return busy('other orders wait already')
      orders += 1
      const { promise, resolve } = Promise.withResolvers<Taken>()
      inbox.put({ news: 'order', order, answer: resolve })
      const { answer, shown } = await promise.finally(() => (orders -= 1))
      return shown === undefined ? answer : rehearse(answer, shown)
    },
    async run(signal) {
      const device: Mover = createMover(ports, { keeper, inventory, tell, atRest: () => consider(device) }, signal)
      mover = device
      const over = new AbortController()
      const ticking = everyTick(AbortSignal.any([signal, over.signal]))
      try {
        await keeper.save()
        keeper.tellStart(found.record)
        await device.begin()
        // What could not be reached may have come into reach, or somebody has seen to it.
        if ((memory().retirement?.left.length ?? 0) > 0) await retire(device)
        for (;;) {
          await handle(await inbox.take(signal), device)
          tellWaiting(device)
        }
      } finally {
        over.abort()
        await Promise.all([device.stop(), ticking])
      }
    },
  }
}

function busy(doing: string): OrderAnswer {
  return { accepted: false, code: 'AUTH_BUSY', steps: [doing] }
}
