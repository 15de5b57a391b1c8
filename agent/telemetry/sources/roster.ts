/** Something that goes on until it is told to end. */
export interface Runner {
  /** @throws signal.reason when aborted; anything else is an invariant that broke */
  run(signal: AbortSignal): Promise<unknown>
}

/** Who is to be on a roster. */
export interface Entry<Member> {
  /** One that is changed keeps its name: the new one begins when the old one has ended. */
  readonly name: string
  /** The same text means the same member, which goes on as it is. */
  readonly identity: string
  readonly create: () => Member
}

/** Keeps running who is on it, while who is on it changes. */
export interface Roster<Member extends Runner> {
  /** In the order of the entries. */
  members(): readonly Member[]
  /** Ends who is no longer on it, and begins who is new on it, at once if the roster runs. */
  assign(entries: readonly Entry<Member>[]): void
  /**
   * Runs all of them; once at a time.
   *
   * @throws signal.reason when aborted, once all have ended
   */
  run(signal: AbortSignal): Promise<never>
}

interface Place<Member> {
  readonly name: string
  readonly identity: string
  readonly member: Member
  readonly over: AbortController
}

interface Going {
  readonly name: string
  readonly ended: Promise<void>
}

export function createRoster<Member extends Runner>(): Roster<Member> {
  const going = new Set<Going>()
  let places: readonly Place<Member>[] = []
  let begin: ((place: Place<Member>) => void) | undefined

  /** Settles well however the member ends, and says whether it had to. */
  const runOne = async ({ member }: Place<Member>, after: Promise<unknown>, stop: AbortSignal): Promise<unknown> => {
    await after
    try {
      stop.throwIfAborted()
      await member.run(stop)
      return undefined
    } catch (error) {
      return stop.aborted ? undefined : error
    }
  }

  return {
    members: () => places.map(({ member }) => member),
    assign(entries) {
      const before = places
      places = entries.map(({ name, identity, create }) => {
        const same = before.find((one) => one.identity === identity)
        return same ?? { name, identity, member: create(), over: new AbortController() }
      })
      for (const place of before) if (!places.includes(place)) place.over.abort(new Error('it is no longer configured'))
      for (const place of places) if (!before.includes(place)) begin?.(place)
    },
    async run(signal) {
      const broken = Promise.withResolvers<never>()
      begin = (place) => {
        const earlier = [...going].filter(({ name }) => name === place.name).map(({ ended }) => ended)
        const stop = AbortSignal.any([signal, place.over.signal])
        const mine: Going = { name: place.name, ended: follow(place, Promise.all(earlier), stop) }
        going.add(mine)
        void mine.ended.finally(() => going.delete(mine))
      }
      const follow = async (place: Place<Member>, after: Promise<unknown>, stop: AbortSignal) => {
        const error = await runOne(place, after, stop)
        if (error !== undefined) broken.reject(error)
      }
      for (const place of places) begin(place)
      try {
        return await Promise.race([broken.promise, reasonOf(signal)])
      } catch (error) {
        begin = undefined
        if (signal.aborted) await Promise.all([...going].map(({ ended }) => ended))
        throw error
      }
    },
  }
}

function reasonOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const tell = () => reject(signal.reason as Error)
    if (signal.aborted) tell()
    else signal.addEventListener('abort', tell, { once: true })
  })
}
