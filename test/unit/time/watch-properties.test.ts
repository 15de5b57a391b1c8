import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { bootMachine, DAY, HOUR, MINUTE, tellingSkew } from './machine.ts'
import type { Machine } from './machine.ts'

const build = Date.UTC(2026, 5, 1)
const trueStart = Date.UTC(2026, 11, 1)

/** What can happen to a machine. `honest` sources tell the true time, others tell anything. */
type Happening =
  | { readonly kind: 'time passes'; readonly ms: number }
  | { readonly kind: 'clock is set'; readonly byMs: number }
  | { readonly kind: 'machine sleeps'; readonly ms: number }
  | { readonly kind: 'process stands still'; readonly ms: number }
  | { readonly kind: 'NTP synchronises' }
  | { readonly kind: 'NTP loses its servers' }
  | { readonly kind: 'server is verified' }
  | { readonly kind: 'server has wrong dates' }
  | { readonly kind: 'server is away' }
  | { readonly kind: 'suspicion' }
  | { readonly kind: 'somebody asks' }

const span = fc.oneof(fc.integer({ min: 1, max: 5 * MINUTE }), fc.integer({ min: 1, max: 2 * HOUR }))
const shift = fc.oneof(
  fc.integer({ min: -60, max: 60 }).map((seconds) => seconds * 1000),
  fc.integer({ min: -72, max: 72 }).map((hours) => hours * HOUR),
  fc.integer({ min: -80, max: 80 }).map((years) => years * 365 * DAY),
)
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 6, arbitrary: span.map((ms) => ({ kind: 'time passes', ms }) as const) },
  shift.map((byMs) => ({ kind: 'clock is set', byMs }) as const),
  span.map((ms) => ({ kind: 'machine sleeps', ms }) as const),
  span.map((ms) => ({ kind: 'process stands still', ms }) as const),
  ...(
    [
      'NTP synchronises',
      'NTP loses its servers',
      'server is verified',
      'server has wrong dates',
      'server is away',
      'suspicion',
      'somebody asks',
    ] as const
  ).map((kind) => fc.constant({ kind })),
)

/** A machine beside the true time, which goes on whatever is done to the machine. */
interface Scene {
  readonly machine: Machine
  readonly trueMs: () => number
}

async function happen(happening: Happening, { machine, trueMs }: Scene): Promise<void> {
  const { clock, watch } = machine
  switch (happening.kind) {
    case 'time passes':
      await clock.advance(happening.ms)
      break
    case 'clock is set':
      machine.set(happening.byMs)
      break
    case 'machine sleeps':
      machine.sleep(happening.ms)
      break
    case 'process stands still':
      machine.freeze(happening.ms)
      break
    case 'NTP synchronises':
      machine.synchronise(trueMs() - clock.now())
      break
    case 'NTP loses its servers':
      machine.say(false)
      break
    case 'server is verified':
      machine.serve((wallMs) => tellingSkew(trueMs() - wallMs)())
      break
    case 'server has wrong dates':
      machine.serve((wallMs) => tellingSkew(trueMs() - wallMs, false)())
      break
    case 'server is away':
      machine.serve(undefined)
      break
    case 'suspicion':
      watch.suspect()
      break
    case 'somebody asks':
      watch.current()
  }
}

/** Plays all of it; `check` sees every judgement that anybody is told. */
async function play(
  happenings: readonly Happening[],
  bootedOffMs: number,
  savedMs: number | undefined,
  check: (scene: Scene, trust: string) => void,
): Promise<void> {
  const machine = bootMachine({
    ...{ wallMs: trueStart + bootedOffMs, buildMs: build },
    ...(savedMs === undefined ? {} : { savedMs }),
  })
  const scene = { machine, trueMs: () => trueStart + machine.uptimeMs() }
  const over = new AbortController()
  machine.watch.onChange((now) => check(scene, now.trust))
  await machine.start(over.signal)
  for (const each of happenings) {
    await happen(each, scene)
    check(scene, machine.watch.current().trust)
  }
  over.abort(new Error('over'))
  await machine.clock.advance(0)
}

const life = fc.array(happening, { maxLength: 30 })
const runs = { numRuns: 200 }

test('nothing makes a clock trusted as long as neither NTP nor a verified server vouches for it', async () => {
  const vouches = new Set(['NTP synchronises', 'server is verified'])
  const unsupported = life.map((all) => all.filter(({ kind }) => !vouches.has(kind)))
  await fc.assert(
    fc.asyncProperty(unsupported, shift, async (happenings, offMs) => {
      await play(happenings, offMs, undefined, ({ machine }, trust) => {
        assert.notEqual(trust, 'trusted')
        assert.equal(machine.savedMs(), undefined)
      })
    }),
    runs,
  )
})

test('with honest sources a trusted clock is right to five minutes and a little, and so is every saved time', async () => {
  await fc.assert(
    fc.asyncProperty(life, shift, async (happenings, offMs) => {
      await play(happenings, offMs, undefined, ({ machine, trueMs }, trust) => {
        const offMs = Math.abs(machine.clock.now() - trueMs())
        // Steps of up to five seconds are not noticed until the next look, at most one for each happening.
        if (trust === 'trusted') assert.ok(offMs <= 5 * MINUTE + happenings.length * 5_000, `off by ${offMs} ms`)
        const savedMs = machine.savedMs()
        if (savedMs !== undefined) assert.ok(savedMs <= trueMs() + 5 * MINUTE + happenings.length * 5_000)
      })
    }),
    runs,
  )
})

test('the saved time never rises above a time that was trusted', async () => {
  await fc.assert(
    fc.asyncProperty(life, shift, async (happenings, offMs) => {
      let highest = Number.NEGATIVE_INFINITY
      const minutes = happenings.flatMap((each) => (each.kind === 'time passes' ? inMinutes(each.ms) : [each]))
      await play(minutes, offMs, undefined, ({ machine }, trust) => {
        if (trust === 'trusted') highest = Math.max(highest, machine.clock.now())
        // Between two of these looks is one of the machine's own.
        assert.ok((machine.savedMs() ?? Number.NEGATIVE_INFINITY) <= highest + MINUTE)
      })
    }),
    { numRuns: 50 },
  )
})

function inMinutes(ms: number): readonly Happening[] {
  const whole = Array.from({ length: Math.floor(ms / MINUTE) }, () => MINUTE)
  return [...whole, ms % MINUTE].map((ms) => ({ kind: 'time passes', ms }))
}

test('whatever was saved, a right clock that NTP keeps for a day and an hour is trusted in the end', async () => {
  await fc.assert(
    fc.asyncProperty(life, shift, shift, async (happenings, offMs, savedOffMs) => {
      const savedMs = trueStart + savedOffMs
      let last = ''
      const rescue: readonly Happening[] = [
        { kind: 'server is verified' },
        { kind: 'NTP synchronises' },
        { kind: 'suspicion' },
        ...Array.from({ length: 26 }, () => ({ kind: 'time passes', ms: HOUR }) as const),
      ]
      const all = [...happenings, ...rescue]
      await play(all, offMs, savedMs, (_scene, trust) => {
        last = trust
      })
      assert.equal(last, 'trusted')
    }),
    { numRuns: 30 },
  )
})
