import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeClock } from '../../../agent/time/trust.ts'
import type { ClockFacts, ClockTrust } from '../../../agent/time/trust.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const build = Date.UTC(2026, 5, 1)
const now = Date.UTC(2026, 11, 1)

/** A clock of which nothing is known but that it is after the build. */
function facts(more: Partial<ClockFacts>): ClockFacts {
  return { nowMs: now, floors: { buildMs: build }, synchronised: undefined, synchronisedForMs: 0, ...more }
}

const floors = (more: Partial<ClockFacts['floors']>) => ({ buildMs: build, ...more })
const synchronised = (synchronisedForMs = 0) => ({ synchronised: true, synchronisedForMs })
const measured = (skewMs: number, verified = true, ageMs = MINUTE) => ({ measured: { skewMs, ageMs, verified } })

const rows: readonly (readonly [name: string, more: Partial<ClockFacts>, trust: ClockTrust, reason: RegExp])[] = [
  ['nothing is known', {}, 'plausible', /nothing vouches/],
  ['the system says no', { synchronised: false }, 'plausible', /nothing vouches/],
  ['the system says yes', synchronised(), 'trusted', /synchronised/],

  ['1970', { nowMs: 0 }, 'wrong', /says 1970-01-01T00:00:00Z, before this program was made/],
  ['2000, as some registers begin', { nowMs: Date.UTC(2000, 0, 1) }, 'wrong', /before this program was made/],
  ['five minutes before the build', { nowMs: build - 5 * MINUTE }, 'plausible', /nothing/],
  ['a little more before the build', { nowMs: build - 5 * MINUTE - 1 }, 'wrong', /before this program was made/],
  [
    'before the build, though synchronised',
    { nowMs: build - DAY, ...synchronised(DAY) },
    'wrong',
    /before this program/,
  ],
  ['before the build, though measured', { nowMs: build - DAY, ...measured(0) }, 'wrong', /before this program/],

  ['2099', { nowMs: Date.UTC(2099, 0, 1) }, 'wrong', /more than 30 years after/],
  ['2099, though synchronised', { nowMs: Date.UTC(2099, 0, 1), ...synchronised(DAY) }, 'wrong', /more than 30 years/],
  ['thirty years after the build', { nowMs: Date.UTC(2056, 5, 1) }, 'plausible', /nothing/],
  ['a moment later', { nowMs: Date.UTC(2056, 5, 1) + 1 }, 'wrong', /more than 30 years after/],

  ['measured to be right', measured(0), 'trusted', /a server was asked/],
  ['measured within five minutes, behind', measured(5 * MINUTE), 'trusted', /a server/],
  ['measured within five minutes, ahead', measured(-5 * MINUTE), 'trusted', /a server/],
  ['measured to be behind', measured(5 * MINUTE + 1000), 'wrong', /301 s behind the time of a server/],
  ['measured to be ahead', measured(-HOUR), 'wrong', /3600 s ahead of the time of a server/],
  ['measured to be off, though synchronised', { ...measured(HOUR), ...synchronised(DAY) }, 'wrong', /a server/],
  ['measured a day ago to be right', measured(0, true, DAY), 'plausible', /nothing/],
  ['measured just within a day', measured(0, true, DAY - 1), 'trusted', /a server/],
  ['measured a day ago to be off', measured(HOUR, true, DAY), 'plausible', /nothing/],
  ['hinted to be right', measured(0, false), 'plausible', /nothing/],
  ['hinted to be off', measured(HOUR, false), 'wrong', /behind the time of a server/],
  ['hinted to be off, though synchronised', { ...measured(HOUR, false), ...synchronised() }, 'wrong', /a server/],
  ['hinted to be right, and synchronised', { ...measured(0, false), ...synchronised() }, 'trusted', /synchronised/],

  ['the saved time is now', { floors: floors({ goodMs: now }) }, 'plausible', /nothing/],
  ['the saved time is five minutes ahead', { floors: floors({ goodMs: now + 5 * MINUTE }) }, 'plausible', /nothing/],
  ['the saved time is an hour ahead', { floors: floors({ goodMs: now + HOUR }) }, 'wrong', /was trusted already/],
  [
    'the newest certificate is an hour ahead',
    { floors: floors({ vaultMs: now + HOUR }) },
    'wrong',
    /newest certificate/,
  ],
  [
    'an hour below the saved time, though synchronised for long and measured',
    { floors: floors({ goodMs: now + HOUR }), ...synchronised(DAY), ...measured(0) },
    'wrong',
    /was trusted already/,
  ],
  ['a year below the saved time', { floors: floors({ goodMs: now + 365 * DAY }) }, 'wrong', /was trusted already/],
  [
    'a year below the saved time, synchronised for less than an hour',
    { floors: floors({ goodMs: now + 365 * DAY }), ...synchronised(HOUR - 1) },
    'wrong',
    /was trusted already/,
  ],
  [
    'a year below the saved time, synchronised for an hour',
    { floors: floors({ goodMs: now + 365 * DAY }), ...synchronised(HOUR) },
    'trusted',
    /synchronised/,
  ],
  [
    'a year below the saved time, measured',
    { floors: floors({ goodMs: now + 365 * DAY }), ...measured(0) },
    'trusted',
    /a server/,
  ],
  [
    'a year below the saved time, hinted',
    { floors: floors({ goodMs: now + 365 * DAY }), ...measured(0, false) },
    'wrong',
    /was trusted already/,
  ],
  [
    'a day below the saved time, which passes by itself',
    { floors: floors({ goodMs: now + DAY }), ...measured(0) },
    'wrong',
    /was trusted already/,
  ],
  [
    'a year below the newest certificate, measured',
    { floors: floors({ vaultMs: now + 365 * DAY }), ...measured(0) },
    'trusted',
    /a server/,
  ],
  [
    'a year below the saved time and an hour below the newest certificate, measured',
    { floors: floors({ goodMs: now + 365 * DAY, vaultMs: now + HOUR }), ...measured(0) },
    'wrong',
    /newest certificate/,
  ],
]

for (const [name, more, trust, reason] of rows) {
  test(`${name}: ${trust}`, () => {
    const verdict = judgeClock(facts(more))
    assert.equal(verdict.trust, trust)
    assert.match(verdict.reason, reason)
  })
}
