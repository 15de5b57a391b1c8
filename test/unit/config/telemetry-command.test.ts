import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runConfigCheck, runConfigList, runConfigShowOrigin } from '../../../agent/commands/config.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { configOf, enough, loadText, makeConfigFolder, onlyProblem, problemsOf } from './folder.ts'

const HEADER = '[[telemetry.command]]\n'

/** A sound entry of that name, with these lines more. */
function entry(name: string, ...lines: readonly string[]): string {
  return [`${HEADER}name = "${name}"`, ...withProgram(lines), ''].join('\n')
}

function withProgram(lines: readonly string[]): readonly string[] {
  return lines.some((line) => line.startsWith('program')) ? lines : ['program = ["/bin/measure"]', ...lines]
}

async function commandsOf(text: string) {
  return configOf(await loadText(text)).telemetry.command
}

async function loadFiles(files: Readonly<Record<string, string>>) {
  await using folder = await makeConfigFolder(files)
  return { folder: folder.path, loaded: loadConfig({ environment: enough, folder: folder.path }) }
}

test('a command that says only its name and program has the documented defaults', async () => {
  assert.deepEqual(await commandsOf(entry('battery', 'program = ["/bin/battery", "--json", ""]')), [
    {
      name: 'battery',
      program: ['/bin/battery', '--json', ''],
      intervalSeconds: 60,
      timeoutSeconds: 10,
      stream: 'battery',
      priority: 'telemetry',
      durability: 'written',
    },
  ])
})

test('a command has what is written, and commands keep their order', async () => {
  const lines = ['intervalSeconds = 900', 'timeoutSeconds = 600', 'stream = "doors"', 'priority = "alarm"']
  const text = entry('door', ...lines, 'durability = "synced"', 'component = "frontDoor"') + entry('a')
  const [door, a] = await commandsOf(text)
  assert.deepEqual(door, {
    name: 'door',
    program: ['/bin/measure'],
    intervalSeconds: 900,
    timeoutSeconds: 600,
    stream: 'doors',
    priority: 'alarm',
    durability: 'synced',
    component: 'frontDoor',
  })
  assert.equal(a?.name, 'a')
})

test('commands may also stand in an inline list, and an empty list is none', async () => {
  const [command] = await commandsOf('telemetry.command = [{ name = "a", program = ["/bin/a"] }]\n')
  assert.equal(command?.name, 'a')
  assert.deepEqual(await commandsOf('telemetry.command = []\n'), [])
})

/** Below the interval; nothing is below 1, so there it is 1. */
const timeouts: readonly (readonly [interval: number, timeout: number])[] = [
  [60, 10],
  [11, 10],
  [10, 9],
  [5, 4],
  [2, 1],
  [1, 1],
]

for (const [interval, timeout] of timeouts) {
  test(`a run every ${interval} s may take ${timeout} s where nothing is said`, async () => {
    const [command] = await commandsOf(entry('a', `intervalSeconds = ${interval}`))
    assert.equal(command?.timeoutSeconds, timeout)
  })
}

const accepted: readonly string[] = [
  entry('a', 'intervalSeconds = 86_400', 'timeoutSeconds = 600'),
  entry('a', 'intervalSeconds = 2', 'timeoutSeconds = 1'),
  entry('a', 'intervalSeconds = 1', 'timeoutSeconds = 1'),
  entry('a', 'priority = "audit"', 'durability = "relaxed"'),
  entry('a', `component = "${'c'.repeat(64)}"`),
  entry('a', `program = ["/${'p'.repeat(4095)}"${', "x"'.repeat(63)}]`),
  entry('a'.repeat(64)),
  entry('A.b_c-9') + entry('a.b_c-9'),
  entry('devices') + entry('Device'),
  entry('a', 'stream = "b"') + entry('b', 'stream = "b"'),
]

for (const [index, text] of accepted.entries()) {
  test(`sound commands, example ${index + 1}, are accepted`, async () => {
    await commandsOf(text)
  })
}

const refused: readonly (readonly [line: string, key: string])[] = [
  ['intervalSeconds = 0', 'intervalSeconds'],
  ['intervalSeconds = 86401', 'intervalSeconds'],
  ['intervalSeconds = "5"', 'intervalSeconds'],
  ['timeoutSeconds = 0', 'timeoutSeconds'],
  ['timeoutSeconds = 601\nintervalSeconds = 3600', 'timeoutSeconds'],
  ['timeoutSeconds = 60', 'timeoutSeconds'],
  ['timeoutSeconds = 2\nintervalSeconds = 1', 'timeoutSeconds'],
  ['stream = ""', 'stream'],
  ['stream = "two words"', 'stream'],
  ['stream = "device"', 'stream'],
  ['stream = "iotAgentX"', 'stream'],
  ['priority = "high"', 'priority'],
  ['durability = "fsync"', 'durability'],
  ['component = "9th"', 'component'],
  ['component = "last_"', 'component'],
  ['component = ""', 'component'],
  [`component = "${'c'.repeat(65)}"`, 'component'],
  ['program = []', 'program'],
  ['program = ["measure"]', 'program'],
  ['program = ["./measure"]', 'program'],
  ['program = ["/bin/measure", 5]', 'program'],
  ['program = ["/bin/measure", "a\\u0000b"]', 'program'],
  ['program = ["/bin/measure", ["x"]]', 'program'],
  ['program = "/bin/measure"', 'program'],
  [`program = ["/bin/measure"${', "x"'.repeat(64)}]`, 'program'],
  [`program = ["/${'p'.repeat(4096)}"]`, 'program'],
]

for (const [line, key] of refused) {
  test(`a command with ${JSON.stringify(line).slice(0, 60)} is one problem, of that entry and key`, async () => {
    const problem = onlyProblem(await loadText(entry('first') + entry('second', line)))
    assert.equal(problem.key, `telemetry.command[1].${key}`)
    assert.match(problem.origin ?? '', /config\.toml$/)
    assert.ok(problem.value !== undefined && problem.value.length < 200)
    assert.ok(problem.remedy.length > 10)
  })
}

for (const name of ['', 'two words', 'a/b', 'ä', 'device', 'IOTAGENT', 'n'.repeat(65)]) {
  test(`no command is called ${JSON.stringify(name).slice(0, 20)}`, async () => {
    const problem = onlyProblem(await loadText(entry(name)))
    assert.equal(problem.key, 'telemetry.command[0].name')
    assert.equal(problem.value, JSON.stringify(name))
  })
}

test('a wrong type is said with what was expected, and the remedy shows how an entry is written', async () => {
  const problem = onlyProblem(await loadText(entry('a', 'intervalSeconds = "5"')))
  assert.match(problem.problem, /whole number from 1 to 86400, got a string/)
  assert.match(problem.remedy, /\[\[telemetry\.command\]\] intervalSeconds = 60/)
})

test('what an entry lacks is named with the file that has the entry', async () => {
  const { loaded, folder } = await loadFiles({ 'config.toml': entry('a'), 'config.d/b.toml': HEADER })
  assert.deepEqual(
    problemsOf(loaded).map(({ key, origin }) => [key, origin]),
    ['name', 'program'].map((key) => [`telemetry.command[0].${key}`, join(folder, 'config.d/b.toml')]),
  )
})

test('every problem of every entry comes at once, beside those of other keys', async () => {
  const text = `log.level = "loud"\n${entry('a', 'priority = "x"', 'intervall = 5')}${entry('a')}${HEADER}program = ["x"]\n`
  assert.deepEqual(
    problemsOf(await loadText(text))
      .map(({ key }) => String(key))
      .toSorted(),
    [
      'log.level',
      'telemetry.command[0].intervall',
      'telemetry.command[0].priority',
      'telemetry.command[1].name',
      'telemetry.command[2].name',
      'telemetry.command[2].program',
    ],
  )
})

/** An unknown key of an entry, and the key of the same entry that is suggested. */
const unknown: readonly (readonly [written: string, meant: RegExp])[] = [
  ['intervall', /Did you mean telemetry\.command\[1\]\.intervalSeconds\? .*\[\[telemetry\.command\]\] intervalSeconds/],
  ['interval', /Did you mean telemetry\.command\[1\]\.intervalSeconds\?/],
  ['timeout', /Did you mean telemetry\.command\[1\]\.timeoutSeconds\?/],
  ['args', /Did you mean telemetry\.command\[1\]\.program\?/],
  ['zzzzzz', /^Remove it/],
]

for (const [written, meant] of unknown) {
  test(`the unknown key ${written} of an entry is a problem of its own, and its value is not shown`, async () => {
    const problem = onlyProblem(await loadText(entry('a') + entry('b', `${written} = "TopSecret1"`)))
    assert.equal(problem.key, `telemetry.command[1].${written}`)
    assert.match(problem.remedy, meant)
    assert.doesNotMatch(JSON.stringify(problem), /TopSecret1/)
  })
}

test('a table inside an entry is an unknown key, or stands where a value is expected', async () => {
  const text = `${HEADER}name = "a"\n[telemetry.command.extra]\nx = 1\n[telemetry.command.program]\ny = 2\n`
  assert.deepEqual(
    problemsOf(await loadText(text))
      .map(({ key }) => String(key))
      .toSorted(),
    ['telemetry.command[0].extra', 'telemetry.command[0].program'],
  )
})

for (const [name, text] of [
  ['a table', '[telemetry.command]\nname = "a"\n'],
  ['a text', 'telemetry.command = "/bin/x"\n'],
  ['a list of texts', 'telemetry.command = ["/bin/x", "TopSecret1"]\n'],
  ['a list that is not of tables only', 'telemetry.command = [{ name = "a", program = ["/bin/a"] }, 5]\n'],
] as const) {
  test(`${name} in place of the list is one problem that shows how an entry is written`, async () => {
    const problem = onlyProblem(await loadText(text))
    assert.equal(problem.key, 'telemetry.command')
    assert.match(problem.remedy, /\[\[telemetry\.command\]\]/)
    assert.doesNotMatch(JSON.stringify(problem), /TopSecret1/)
  })
}

for (const name of ['commands', 'comand', 'program']) {
  test(`who writes [[telemetry.${name}]] is told [[telemetry.command]]`, async () => {
    const problem = onlyProblem(await loadText(`[[telemetry.${name}]]\nname = "a"\n`))
    assert.equal(problem.key, `telemetry.${name}`)
    assert.match(problem.remedy, /Did you mean telemetry\.command\? Write it as: \[\[telemetry\.command\]\]$/)
  })
}

test('a quoted key that looks like an entry is unknown', async () => {
  const problem = onlyProblem(await loadText('[telemetry."command[0]"]\nname = "a"\n'))
  assert.equal(problem.key, 'telemetry."command[0]".name')
})

test('two entries of one name in one file are a problem of the second, that names the first', async () => {
  const problem = onlyProblem(await loadText(entry('a') + entry('b') + entry('a')))
  assert.equal(problem.key, 'telemetry.command[2].name')
  assert.equal(problem.value, '"a"')
  assert.match(problem.problem, /telemetry\.command\[0\] /)
})

test('of a program in a problem no argument is shown', async () => {
  for (const program of [
    '["curl", "-H", "TopSecret1"]',
    '["curl -H TopSecret1"]',
    '"/usr/bin/curl -H TopSecret1"',
    '["/usr/bin/curl", "TopSecret1", 5]',
    '["/usr/bin/curl", { header = "TopSecret1" }]',
    '{ args = ["TopSecret1"] }',
  ]) {
    const problem = onlyProblem(await loadText(entry('a', `program = ${program}`)))
    assert.equal(problem.key, 'telemetry.command[0].program')
    assert.doesNotMatch(JSON.stringify(problem), /TopSecret1/, program)
  }
})

test('a later file replaces the entry of the same name whole and in its place, and adds the others', async () => {
  const { loaded, folder } = await loadFiles({
    'config.toml': entry('a', 'component = "old"', 'intervalSeconds = 5') + entry('b'),
    'config.d/10.toml': entry('c') + entry('a', 'program = ["/bin/other"]'),
    'config.d/20.toml': entry('c', 'priority = "audit"'),
  })
  const commands = configOf(loaded).telemetry.command
  assert.deepEqual(
    commands.map(({ name }) => name),
    ['a', 'b', 'c'],
  )
  assert.deepEqual(commands[0]?.program, ['/bin/other'])
  assert.equal(commands[0]?.intervalSeconds, 60)
  assert.equal(commands[0]?.component, undefined)
  assert.equal(commands[2]?.priority, 'audit')
  assert.ok(loaded.ok)
  const [base, first, second] = ['config.toml', 'config.d/10.toml', 'config.d/20.toml'].map((name) =>
    join(folder, name),
  )
  assert.equal(loaded.origins['telemetry.command[0].program'], first)
  assert.equal(loaded.origins['telemetry.command[0].intervalSeconds'], 'default')
  assert.equal(loaded.origins['telemetry.command[1].name'], base)
  assert.equal(loaded.origins['telemetry.command[2].priority'], second)
  assert.deepEqual(loaded.overridden, {
    'telemetry.command[0].name': [base],
    'telemetry.command[2].name': [first],
  })
})

test('an entry that is replaced is not judged, so that a drop-in can mend a bad one', async () => {
  const { loaded } = await loadFiles({
    'config.toml': entry('a', 'intervalSeconds = 0'),
    'config.d/mend.toml': entry('a', 'intervalSeconds = 1'),
  })
  assert.equal(configOf(loaded).telemetry.command[0]?.intervalSeconds, 1)
})

test('a problem of an entry counts it as its own file does', async () => {
  const { loaded, folder } = await loadFiles({
    'config.toml': entry('a') + entry('b'),
    'config.d/10.toml': entry('c', 'timeoutSeconds = 60'),
  })
  const problem = onlyProblem(loaded)
  assert.equal(problem.key, 'telemetry.command[0].timeoutSeconds')
  assert.equal(problem.origin, join(folder, 'config.d/10.toml'))
  assert.equal(problem.value, '60')
})

function many(count: number, prefix: string): string {
  return Array.from({ length: count }, (_, index) => entry(`${prefix}${index}`)).join('')
}

test('there may be 32 commands, all files together', async () => {
  const full = await loadFiles({ 'config.toml': many(20, 'a'), 'config.d/b.toml': many(12, 'b') })
  assert.equal(configOf(full.loaded).telemetry.command.length, 32)
  const { loaded, folder } = await loadFiles({ 'config.toml': many(20, 'a'), 'config.d/b.toml': many(13, 'b') })
  const problem = onlyProblem(loaded)
  assert.equal(problem.key, 'telemetry.command')
  assert.match(problem.problem, /32/)
  assert.equal(problem.origin, join(folder, 'config.d/b.toml'))
})

test('a replaced entry does not count twice', async () => {
  const { loaded } = await loadFiles({ 'config.toml': many(32, 'a'), 'config.d/b.toml': entry('a31') })
  assert.equal(configOf(loaded).telemetry.command.length, 32)
})

test('a file with tens of thousands of entries gives a bounded list of problems', async () => {
  const problems = problemsOf(await loadText(`${HEADER}name = "a"\nx = 1\n`.repeat(25_000)))
  assert.ok(problems.length < 200, String(problems.length))
  assert.ok(problems.some(({ key }) => key === 'telemetry.command'))
})

function createOutput() {
  const written = { out: '', err: '' }
  return {
    written,
    stdout: (text: string) => void (written.out += text),
    stderr: (text: string) => void (written.err += text),
  }
}

test('config list shows every key of every entry with its origin, and of a program no argument', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': entry('a', 'program = ["/bin/a", "TopSecret1"]', 'intervalSeconds = 5'),
    'config.d/b.toml': entry('b', 'component = "door"'),
  })
  const io = createOutput()
  assert.equal(runConfigList(io, { environment: enough, folder: folder.path }, { json: true }), 0)
  const rows = JSON.parse(io.written.out) as { key: string; value: unknown; origin: string }[]
  const [base, dropIn] = [join(folder.path, 'config.toml'), join(folder.path, 'config.d/b.toml')]
  const row = (place: string) => rows.filter(({ key }) => key.startsWith(`telemetry.command[${place}]`))
  const standard = [
    { key: 'priority', value: 'telemetry', origin: 'default' },
    { key: 'durability', value: 'written', origin: 'default' },
  ]
  const timeout = { key: 'timeoutSeconds', origin: 'follows intervalSeconds less 1, at most 10' }
  assert.deepEqual(row('0'), [
    ...[
      { key: 'name', value: 'a', origin: base },
      { key: 'program', value: ['/bin/a', '…'], origin: base },
      { key: 'intervalSeconds', value: 5, origin: base },
      { ...timeout, value: 4 },
      { key: 'stream', value: 'a', origin: 'follows name' },
      ...standard,
      { key: 'component', value: null, origin: 'not set: no component' },
    ].map((one) => ({ ...one, key: `telemetry.command[0].${one.key}` })),
  ])
  assert.deepEqual(row('1').at(-1), { key: 'telemetry.command[1].component', value: 'door', origin: dropIn })
  assert.equal(row('2').length, 0)
  assert.ok(!rows.some(({ key }) => key === 'telemetry.command'))
})

test('config list without a command shows the empty list', async () => {
  await using folder = await makeConfigFolder({})
  const io = createOutput()
  runConfigList(io, { environment: enough, folder: folder.path })
  assert.match(io.written.out, /^telemetry\.command = \[\] +default$/m)
})

test('config show-origin names the file whose entry lost beside the name of the entry', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': entry('a'), 'config.d/b.toml': entry('a') })
  const io = createOutput()
  assert.equal(runConfigShowOrigin(io, { environment: enough, folder: folder.path }), 0)
  const lines = io.written.out.split('\n').map((line) => line.replace(/ +/, ' '))
  const [base, dropIn] = [join(folder.path, 'config.toml'), join(folder.path, 'config.d/b.toml')]
  assert.ok(lines.includes(`telemetry.command[0].name ${dropIn} (overrides ${base})`))
  assert.ok(lines.includes(`telemetry.command[0].program ${dropIn}`))
})

test('config check names a bad entry and ends with 78', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': entry('a', 'intervalSeconds = 0') })
  const io = createOutput()
  assert.equal(runConfigCheck(io, { environment: enough, folder: folder.path }), 78)
  assert.match(io.written.err, /^1\. telemetry\.command\[0\]\.intervalSeconds$/m)
})

test('config list --doc explains the list as it is written in a file', () => {
  const io = createOutput()
  assert.equal(runConfigList(io, { environment: {} }, { doc: true }), 0)
  assert.match(io.written.out, /^\[\[telemetry\.command\]\] {2}Programs/m)
  assert.match(io.written.out.replaceAll(/\s+/g, ' '), /config\.d replaces the one of the same name/)
})

test('what was in memory has its place on disk now: the old key is unknown, and the new one is named', async () => {
  const problem = onlyProblem(await loadText('telemetry.bufferSamples = 1000\n'))
  assert.match(problem.remedy, /Did you mean telemetry\.outbox\.maxMegabytes\?/)
})
