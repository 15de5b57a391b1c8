import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { systemClock } from '../../agent/system/clock.ts'
import { createPeerUid } from '../../agent/telemetry/intake/peer-uid.ts'
import { createFakeClock } from '../kit/clock.ts'
import { ask, codeOf, curl, json, JSON_TYPE, knock, lastOf, NDJSON, openDoor, wire } from '../kit/telemetry-door.ts'

const AUDIT = '/telemetry?priority=audit'
const HEALTH = { method: 'GET', path: '/health' }
const needsRoot = { skip: process.getuid?.() !== 0 && 'needs root' }

/** Tells of each connection that is asked for whose it is, in the order of the questions; the last for all further ones. */
function usersInTurn(uids: readonly (number | undefined)[]) {
  let asked = 0
  return {
    asked: () => asked,
    identify: () => {
      asked += 1
      return Promise.resolve(uids[Math.min(asked, uids.length) - 1])
    },
  }
}

test('priority audit is taken from root and from the user of the agent, and from nobody else', async () => {
  for (const [uid, status] of [
    [0, 200],
    [990, 200],
    [1000, 403],
    [undefined, 403],
  ] as const) {
    await using door = await openDoor({ ownUid: 990, identify: () => Promise.resolve(uid) })
    const answered = await ask(door.path, { path: AUDIT, headers: JSON_TYPE, body: '[1,2]' })
    assert.equal(answered.status, status, String(uid))
    assert.equal(codeOf(answered), status === 403 ? 'TELEMETRY_FORBIDDEN' : undefined)
    if (uid === undefined) assert.match(answered.text, /cannot be told/)
    if (uid === 1000) assert.match(answered.text, /not for user 1000/)
    assert.equal(door.samples.length, status === 200 ? 2 : 0)
    assert.deepEqual(door.intake.counts().refused, status === 403 ? { TELEMETRY_FORBIDDEN: 1 } : {})
    for (const priority of ['telemetry', 'alarm'])
      assert.equal((await ask(door.path, { path: `/telemetry?priority=${priority}`, body: '1' })).status, 200)
  }
})

test('the agent that nobody tells otherwise is the user of its process, and without a way to ask nobody is let in', async () => {
  await using own = await openDoor({ identify: () => Promise.resolve(process.getuid?.()) })
  assert.equal((await ask(own.path, { path: AUDIT, body: '1' })).status, 200)
  await using blind = await openDoor()
  assert.equal((await ask(blind.path, { path: AUDIT, body: '1' })).status, 403)
})

test('an envelope that asks for audit is refused with its line, and what was stored before it stays', async () => {
  await using door = await openDoor({ ownUid: 990, identify: () => Promise.resolve(1000) })
  const audit = '{"body":2,"priority":"audit"}\n'
  const body = async function* () {
    yield '{"body":1}\n'
    while (door.samples.length === 0) await new Promise((resolve) => setImmediate(resolve))
    yield audit
  }
  const asking = { path: '/telemetry?envelope=true', headers: NDJSON }
  const begun = lastOf(await ask(door.path, { ...asking, body: body() }))
  assert.deepEqual([begun['stored'], begun['line']], [1, 2])
  assert.equal((begun['error'] as { code: string }).code, 'TELEMETRY_FORBIDDEN')
  assert.equal((await ask(door.path, { ...asking, body: audit })).status, 403)
  assert.equal(door.samples.length, 1)
})

test('whose a connection is is asked when audit is wanted, and once', async () => {
  const users = usersInTurn([0])
  await using door = await openDoor({ identify: users.identify })
  const socket = await knock(door.path)
  const post = async (path: string) => {
    socket.write(wire('1', path))
    assert.match(String(await once(socket, 'data')), /^HTTP\/1.1 200 /)
  }
  await post('/telemetry')
  assert.equal(users.asked(), 0)
  await post(AUDIT)
  await post(AUDIT)
  assert.equal(users.asked(), 1)
  socket.destroy()
})

test('the kernel tells who may hand in audit', needsRoot, async () => {
  const identify = createPeerUid({ clock: systemClock })
  await using door = await openDoor({ identify, ownUid: 65_534 })
  await chmod(door.folder, 0o755)
  await chmod(door.path, 0o666)
  const post = async (user: number) => json((await curl(door.path, ['-d', '1', `http://x${AUDIT}`], { user })).stdout)
  assert.equal((await post(0))['stored'], 1)
  assert.equal((await post(65_534))['stored'], 1)
  assert.equal((await post(1))['stored'], 0)
})

/** As many connections as are served, each of which has had an answer. */
async function fillUp(path: string): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < 64) sockets.push(await knock(path))
  for (const socket of sockets) await look(socket)
  return sockets
}

async function look(socket: Socket): Promise<void> {
  socket.write('GET /health HTTP/1.1\r\n\r\n')
  assert.match(String(await once(socket, 'data')), /^HTTP\/1.1 200 /)
}

function leave(sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.destroy()
}

test('64 connections are served, the next is told so, and there is room again when one leaves', async () => {
  await using door = await openDoor()
  const sockets = await fillUp(door.path)
  for (const asking of [HEALTH, { headers: JSON_TYPE, body: `[${' '.repeat(4 * 1024 * 1024)}1]` }]) {
    const refused = await ask(door.path, asking)
    assert.deepEqual([refused.status, codeOf(refused), refused.headers['retry-after']], [503, 'OUTBOX_BUSY', '1'])
    assert.equal(lastOf(refused)['stored'], 0)
  }
  const late = await knock(door.path)
  late.write('GET /health HTTP/1.1\r\n\r\n')
  assert.match(await text(late), /^HTTP\/1.1 503 /, 'its connection is closed with the answer')
  assert.deepEqual(door.samples, [])
  for (const socket of sockets) await look(socket)
  sockets[0]?.destroy()
  let status = 503
  while (status === 503) ({ status } = await ask(door.path, HEALTH))
  assert.equal(status, 200)
  leave(sockets)
})

test('another user gets the connection that has been idle for longest of the one who holds most', async () => {
  const clock = createFakeClock()
  const users = usersInTurn([...Array.from({ length: 64 }, () => 1000), 2000, 1000])
  const storing = Promise.withResolvers<void>()
  const free = Promise.withResolvers<void>()
  const before = () => {
    storing.resolve()
    return free.promise
  }
  await using door = await openDoor({ clock, identify: users.identify, before })
  const sockets = await fillUp(door.path)
  assert.equal(users.asked(), 0)
  sockets[0]?.write(wire('1'))
  await storing.promise
  await clock.advance(1000)
  for (const [at, socket] of sockets.entries()) if (at !== 0 && at !== 5) await look(socket)
  const closed: number[] = []
  for (const [at, socket] of sockets.entries()) socket.once('close', () => closed.push(at))
  const newcomer = await knock(door.path)
  await look(newcomer)
  while (closed.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([closed, users.asked()], [[5], 65])
  assert.equal((await ask(door.path, HEALTH)).status, 503, 'the first user has enough')
  await look(newcomer)
  assert.deepEqual(closed, [5])
  free.resolve()
  leave([...sockets, newcomer])
})

test('a connection is taken from a user only who has more than the newcomer even then', async () => {
  const a33b31: readonly number[] = Array.from({ length: 64 }, (_, at) => (at < 33 ? 1 : 2))
  for (const [held, newcomer, status] of [
    [a33b31, 2, 200],
    [a33b31, 1, 503],
    [a33b31.with(32, 2), 1, 503],
    [a33b31.with(32, 2), 2, 503],
    [a33b31.with(32, 3), 2, 503],
    [a33b31.with(32, 3), 3, 200],
    [a33b31.map((_, at) => at), 1000, 503],
    [a33b31.map(() => undefined), 1, 200],
    [a33b31.map(() => undefined), undefined, 503],
    [a33b31.map((_, at) => (at < 3 ? undefined : at)), 1000, 200],
  ] as const) {
    await using door = await openDoor({ identify: usersInTurn([...held, newcomer]).identify })
    const sockets = await fillUp(door.path)
    const answered = await ask(door.path, HEALTH)
    assert.equal(answered.status, status, JSON.stringify([held, newcomer]))
    leave(sockets)
  }
})

test('connections that say nothing keep nobody from the door', async () => {
  await using door = await openDoor({ identify: usersInTurn([...Array.from({ length: 64 }, () => 1), 2]).identify })
  const sockets = await fillUp(door.path)
  const silent: Socket[] = []
  let closed = 0
  for (let count = 0; count < 100; count += 1) {
    const socket = await knock(door.path)
    socket.once('close', () => (closed += 1))
    socket.resume()
    silent.push(socket)
    while (silent.length - closed > 16) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal((await ask(door.path, HEALTH)).status, 200)
  leave([...sockets, ...silent])
})

/** A door with all places taken by user 1, and a newcomer who is being asked for until `uid` tells. */
async function openCrowded() {
  const uid = Promise.withResolvers<number>()
  const isAsked = Promise.withResolvers<void>()
  let asked = 0
  const identify = () => {
    asked += 1
    if (asked <= 64) return Promise.resolve(1)
    isAsked.resolve()
    return asked === 65 ? uid.promise : Promise.resolve(2)
  }
  const door = await openDoor({ identify })
  const sockets = await fillUp(door.path)
  const newcomer = await knock(door.path)
  newcomer.write('GET /health HTTP/1.1\r\n\r\n')
  await isAsked.promise
  return { door, sockets, newcomer, uid }
}

test('a newcomer that goes away while it is asked for takes no place', async () => {
  const { door, sockets, newcomer, uid } = await openCrowded()
  await using _ = door
  let closed = 0
  for (const socket of sockets) socket.once('close', () => (closed += 1))
  newcomer.destroy()
  // The next one is let in, with somebody's place, after the door has seen the first go.
  const next = await knock(door.path)
  await look(next)
  while (closed === 0) await new Promise((resolve) => setImmediate(resolve))
  uid.resolve(2)
  for (const socket of [...sockets, next]) if (!socket.destroyed) await look(socket)
  assert.equal(closed, 1)
  leave([...sockets, next])
})

test('a place that becomes free while a newcomer is asked for is the newcomer’s, whoever it is', async () => {
  const { door, sockets, newcomer, uid } = await openCrowded()
  await using _ = door
  const [first, ...others] = sockets
  first?.destroy()
  // Whoever is answered now has been so after the door has seen the first go.
  for (const socket of others) await look(socket)
  uid.resolve(1)
  assert.match(String(await once(newcomer, 'data')), /^HTTP\/1.1 200 /)
  for (const socket of others) await look(socket)
  leave([...others, newcomer])
})

test('one user with all connections does not shut out another', needsRoot, async () => {
  await using door = await openDoor({ identify: createPeerUid({ clock: systemClock }) })
  await chmod(door.folder, 0o755)
  await chmod(door.path, 0o666)
  const sockets = await fillUp(door.path)
  for (const socket of sockets) {
    socket.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n')
    socket.write('1\r\n\n\r\n')
  }
  assert.equal((await ask(door.path, { body: '1' })).status, 503)
  const other = await curl(door.path, ['-d', '1', 'http://x/telemetry'], { user: 65_534 })
  assert.equal(json(other.stdout)['stored'], 1)
  leave(sockets)
})
