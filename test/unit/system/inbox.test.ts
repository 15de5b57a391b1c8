import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { createInbox, orAborted } from '../../../agent/system/inbox.ts'

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

test('what was put is taken in its order, one at a time', async () => {
  const inbox = createInbox<number>()
  const { signal } = new AbortController()
  for (const item of [1, 2, 3]) inbox.put(item)
  assert.equal(await inbox.take(signal), 1)
  inbox.put(4)
  const rest = [await inbox.take(signal), await inbox.take(signal), await inbox.take(signal)]
  assert.deepEqual(rest, [2, 3, 4])
})

test('whoever takes from an empty inbox waits for what is put next', async () => {
  const inbox = createInbox<string>()
  const taken: string[] = []
  const taking = inbox.take(new AbortController().signal).then((item) => taken.push(item))
  await turnOfTheLoop()
  assert.deepEqual(taken, [])
  inbox.put('first')
  inbox.put('second')
  await taking
  assert.deepEqual(taken, ['first'])
  assert.equal(await inbox.take(new AbortController().signal), 'second')
})

test('nothing is lost or doubled when items come faster than they are taken', async () => {
  const inbox = createInbox<number>()
  const { signal } = new AbortController()
  const taken: number[] = []
  const taking = (async () => {
    while (taken.length < 100) taken.push(await inbox.take(signal))
  })()
  for (let item = 0; item < 100; item += 1) {
    inbox.put(item)
    if (item % 7 === 0) await turnOfTheLoop()
  }
  await taking
  assert.deepEqual(taken, [...Array(100).keys()])
})

test('a wait that is aborted fails with the reason, and what comes later is left for the next', async () => {
  const inbox = createInbox<string>()
  const control = new AbortController()
  const taking = inbox.take(control.signal)
  control.abort(new Error('the agent ends'))
  await assert.rejects(taking, /the agent ends/)
  inbox.put('later')
  assert.equal(await inbox.take(new AbortController().signal), 'later')
})

test('who is aborted already takes nothing, even if something is there', async () => {
  const inbox = createInbox<string>()
  inbox.put('kept')
  await assert.rejects(inbox.take(AbortSignal.abort(new Error('over'))), /over/)
  assert.equal(await inbox.take(new AbortController().signal), 'kept')
})

test('items that are falsy are items', async () => {
  const inbox = createInbox<number | string | boolean | null>()
  for (const item of [0, '', false, null]) inbox.put(item)
  const { signal } = new AbortController()
  for (const item of [0, '', false, null]) assert.equal(await inbox.take(signal), item)
})

test('a signal that lives as long as the agent collects no listeners', async () => {
  const inbox = createInbox<number>()
  const { signal } = new AbortController()
  for (let item = 0; item < 20; item += 1) {
    const taking = inbox.take(signal)
    inbox.put(item)
    await taking
  }
  assert.equal(listeners(signal), 0)
})

test('work that ends before the signal resolves, and leaves no listener', async () => {
  const { signal } = new AbortController()
  await orAborted(Promise.resolve(), signal)
  assert.equal(listeners(signal), 0)
})

test('work that never ends is left when the signal aborts, and leaves no listener', async () => {
  const control = new AbortController()
  const waiting = orAborted(new Promise(() => {}), control.signal)
  assert.equal(listeners(control.signal), 1)
  control.abort()
  await waiting
  assert.equal(listeners(control.signal), 0)
})

test('work that never ends is not waited for when the signal has aborted before', async () => {
  const signal = AbortSignal.abort()
  await orAborted(new Promise(() => {}), signal)
  assert.equal(listeners(signal), 0)
})

test('work that fails fails the wait, and leaves no listener', async () => {
  const { signal } = new AbortController()
  await assert.rejects(orAborted(Promise.reject(new Error('broken')), signal), /broken/)
  assert.equal(listeners(signal), 0)
})
