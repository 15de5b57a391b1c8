import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import * as fc from 'fast-check'
import { linkEntry, noHead, trail, verifyAudit } from '../../../agent/credential/audit-chain.ts'
import type { AuditFacts, AuditHead } from '../../../agent/credential/audit-chain.ts'

const AT = Date.UTC(2026, 0, 2)

interface Written {
  readonly lines: readonly string[]
  readonly head: AuditHead
}

/** The lines of a file that goes on from a head. */
function fileFrom(head: AuditHead, notes: readonly (readonly [string, AuditFacts])[]): Written {
  const lines: string[] = []
  let last = head
  const first = [head.seq === 0 ? trail.begun : trail.continued, {}] as const
  for (const [what, facts] of [first, ...notes]) {
    const { line, entry } = linkEntry(last, AT, what, facts)
    lines.push(line)
    last = entry
  }
  return { lines, head: last }
}

const textOf = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('')
const anyNote = fc.tuple(
  fc.constantFrom('wanted', 'prepared', 'proved'),
  fc.dictionary(
    fc.constantFrom('active', 'reason', 'version', 'seq', 'hash', 'prev', '__proto__'),
    fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean()),
    { maxKeys: 3 },
  ),
)
const anyNotes = fc.array(anyNote, { minLength: 1, maxLength: 6 })
/** A trail of one file, or of two of which the older may go on with one that is gone. */
const anyTrail = fc.tuple(anyNotes, fc.option(anyNotes), fc.boolean()).map(([first, second, isLong]) => {
  const anchor = isLong ? { seq: 41, hash: createHash('sha256').update('gone').digest('hex') } : noHead
  if (second === null) return { older: [], current: fileFrom(noHead, first).lines }
  const older = fileFrom(anchor, first)
  return { older: older.lines, current: fileFrom(older.head, second).lines }
})

const judge = (older: readonly string[], current: readonly string[], seen?: AuditHead) =>
  verifyAudit({ older: textOf(older), current: textOf(current) }, seen)

/** As the rule says, with nothing of the code that is under test. */
function hashOf(line: string): unknown {
  const { hash, ...rest } = JSON.parse(line) as Record<string, unknown>
  assert.equal(createHash('sha256').update(JSON.stringify(rest)).digest('hex'), hash)
  return hash
}

test('every line names the one before it, and its hash is that of the line without it', () => {
  const { lines, head } = fileFrom(noHead, [['wanted', { to: 'x509', version: 7 }]])
  const [begun = '', wanted = ''] = lines
  assert.deepEqual(JSON.parse(wanted), {
    ...{ seq: 2, at: '2026-01-02T00:00:00.000Z', what: 'wanted', to: 'x509', version: 7 },
    prev: hashOf(begun),
    hash: hashOf(wanted),
  })
  assert.equal(head.seq, 2)
})

test('a trail as it was written is intact, whatever its facts are called and say', () => {
  fc.assert(
    fc.property(anyTrail, ({ older, current }) => {
      const verdict = judge(older, current)
      assert.equal(verdict.state, 'intact')
      assert.equal(verdict.entries.length, older.length + current.length)
      for (const line of [...older, ...current]) assert.match(line, /^[\x20-\x7E]*$/)
      assert.deepEqual(judge(older, current, verdict.head).state, 'intact')
    }),
  )
})

test('each byte that is changed is noticed, and what was before it is still believed', () => {
  fc.assert(
    fc.property(anyTrail, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ older, current }, place, flip) => {
      const [first, second] = [Buffer.from(textOf(older)), Buffer.from(textOf(current))]
      const at = place % (first.length + second.length)
      const [file, offset] = at < first.length ? [first, at] : [second, at - first.length]
      const before = (file === second ? older.length : 0) + file.subarray(0, offset).toString().split('\n').length - 1
      file[offset] = (file[offset] ?? 0) ^ flip
      const verdict = verifyAudit({ older: first.toString(), current: second.toString() })
      assert.equal(verdict.state, 'tampered')
      assert.ok(verdict.entries.length <= before)
    }),
    { numRuns: 3000 },
  )
})

test('every byte of a small trail, in every bit, is noticed', () => {
  const text = Buffer.from(textOf(fileFrom(noHead, [['wanted', { reason: 'zu spät' }]]).lines))
  for (let at = 0; at < text.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(text)
      changed[at] = (changed[at] ?? 0) ^ (1 << bit)
      assert.equal(verifyAudit({ current: changed.toString() }).state, 'tampered', `byte ${at}, bit ${bit}`)
    }
  }
})

test('lines that are missing from within or at the front of a file are noticed; at the end, by who saw a later head', () => {
  fc.assert(
    fc.property(anyTrail, fc.nat(), fc.nat(), ({ older, current }, from, count) => {
      const all = [...older, ...current]
      const start = from % all.length
      const end = start + 1 + (count % (all.length - start))
      const kept = (lines: readonly string[], offset: number) =>
        lines.filter((_line, index) => index + offset < start || index + offset >= end)
      const { head } = judge(older, current)
      const [first, second] = [kept(older, 0), kept(current, older.length)]
      if (end < all.length) assert.equal(judge(first, second).state, 'tampered')
      assert.equal(judge(first, second, head).state, 'tampered')
    }),
    { numRuns: 2000 },
  )
})

test('lines in another order are noticed, and so are lines that are there twice', () => {
  fc.assert(
    fc.property(anyTrail, fc.nat(), fc.nat(), ({ older, current }, one, other) => {
      const all = [...older, ...current]
      const [a, b] = [one % all.length, other % all.length]
      const swapped = all.with(a, all[b] ?? '').with(b, all[a] ?? '')
      const isSame = a === b
      const verdict = judge(swapped.slice(0, older.length), swapped.slice(older.length))
      assert.equal(verdict.state, isSame ? 'intact' : 'tampered')
      const twice = all.toSpliced(a, 0, all[b] ?? '')
      assert.equal(judge(twice.slice(0, older.length), twice.slice(older.length)).state, 'tampered')
    }),
    { numRuns: 2000 },
  )
})

test('a line that was made anew without the ones after it is noticed', () => {
  const { lines } = fileFrom(noHead, [
    ['wanted', { to: 'x509' }],
    ['proved', {}],
  ])
  const [begun = '', , proved = ''] = lines
  const { entries } = verifyAudit({ current: textOf([begun]) })
  const forged = linkEntry(entries[0] ?? noHead, AT, 'wanted', { to: 'sas' }).line
  const verdict = verifyAudit({ current: textOf([begun, forged, proved]) })
  assert.ok(verdict.state === 'tampered')
  assert.equal(verdict.why, 'line 3 does not follow line 2')
  assert.equal(verdict.head.seq, 2)
})

test('a whole chain that was made anew is noticed by who saw the old head', () => {
  const { head } = fileFrom(noHead, [['wanted', { to: 'sas' }]])
  const forged = fileFrom(noHead, [['wanted', { to: 'x509' }]])
  assert.equal(judge([], forged.lines).state, 'intact')
  const verdict = judge([], forged.lines, head)
  assert.equal(verdict.state === 'tampered' && verdict.why, 'line 2 is another one than it was')
})

test('wherever a last line is cut, that is the power and no tampering', () => {
  const { lines } = fileFrom(noHead, [['wanted', { reason: 'x' }]])
  const [begun = '', last = ''] = lines
  for (let length = 1; length <= last.length; length += 1) {
    const verdict = verifyAudit({ current: `${begun}\n${last.slice(0, length)}` })
    assert.equal(verdict.state, 'cut', String(length))
    assert.equal(verdict.head.seq, 1)
  }
  for (const tail of ['\0\0\0', '{', begun.slice(0, 20)]) assert.equal(verifyAudit({ current: tail }).state, 'cut')
  for (const tail of [`${last} `, `${last}\0`, last.replace('wanted', 'xanted')]) {
    assert.equal(verifyAudit({ current: `${begun}\n${tail}` }).state, 'tampered')
  }
  assert.equal(
    verifyAudit({ older: `${begun}\n${last}`, current: '' }).state,
    'tampered',
    'only the newer one is written to',
  )
})

test('a file that goes on with an older one needs it, and no trail at all is an empty one', () => {
  const older = fileFrom(noHead, [['wanted', {}]])
  const current = fileFrom(older.head, [['proved', {}]])
  const missing = verifyAudit({ current: textOf(current.lines) })
  assert.equal(missing.state === 'tampered' && missing.why, 'line 3 begins a file: what was before it is missing')
  assert.deepEqual(verifyAudit({ older: textOf(older.lines) }).head.seq, 2)
  assert.deepEqual(verifyAudit({}), { state: 'intact', entries: [], head: noHead })
  assert.equal(verifyAudit({}, older.head).state, 'tampered')
})

test('a long text is cut, and no fact can pass for the number or the hash of a line', () => {
  const { entry, line } = linkEntry(noHead, AT, 'wanted', {
    reason: '\u2026'.repeat(9_000),
    seq: 99,
    what: 'x',
    hash: 'x',
  })
  assert.equal(entry.seq, 1)
  assert.equal(entry.what, 'wanted')
  assert.ok(line.length < 4_096)
})
