import type { Client } from './client.ts'

/** Who is served when more connect than can be. */
export interface Crowd {
  enter(client: Client): void
  leave(client: Client): void
  /**
   * Whether the request of a client is to be served. One who came when all places were taken gets that of a connection
   * of whoever holds most of them, if the other has more even then. Users are told apart only for this.
   */
  admits(client: Client): Promise<boolean>
}

/** Connections that are served at a time. */
const MAX_INSIDE = 64

/** Those that came too late: until their request is answered, 10 s without one. */
const MAX_OUTSIDE = 16

/** Those that are being closed count for a moment longer. */
export const MAX_CONNECTIONS = MAX_INSIDE + 2 * MAX_OUTSIDE

export function createCrowd(): Crowd {
  const inside = new Set<Client>()
  const outside = new Set<Client>()
  const moveIn = (client: Client): boolean => {
    if (inside.size >= MAX_INSIDE) return false
    outside.delete(client)
    inside.add(client)
    return true
  }
  return {
    enter(client) {
      if (moveIn(client)) return
      const [first] = outside
      if (outside.size >= MAX_OUTSIDE && first !== undefined) {
        outside.delete(first)
        first.close()
      }
      outside.add(client)
    },
    leave(client) {
      inside.delete(client)
      outside.delete(client)
    },
    async admits(client) {
      if (inside.has(client)) return true
      client.expect('nothing')
      const known = [...inside, client].map(async (one) => [one, await one.uid()] as const)
      const uids = new Map(await Promise.all(known))
      // It may have gone while it was asked for.
      if (!outside.has(client)) return false
      if (moveIn(client)) return true
      const groups = Map.groupBy(inside, (one) => uids.get(one))
      const own = groups.get(uids.get(client))?.length ?? 0
      const most = [...groups.values()].reduce((largest, group) => (group.length > largest.length ? group : largest))
      if (own + 1 >= most.length) return false
      const idlest = most.reduce((first, one) => (one.activeAtMs() < first.activeAtMs() ? one : first))
      inside.delete(idlest)
      idlest.close()
      return moveIn(client)
    },
  }
}
