import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  readAssignments,
  readEnvironmentFile,
  readEnvironmentLine,
  splitWords,
} from '../../../agent/takeover/unit-text.ts'

test('an Environment line is unquoted as systemd.exec(5) shows it', () => {
  // The example of the manual: VAR1 with a blank, VAR2 as two words, VAR3 with a dollar sign as it is.
  assert.deepEqual(readEnvironmentLine(`"VAR1=word1 word2" VAR2=word3 "VAR3=$word 5 6"`), [
    { name: 'VAR1', value: 'word1 word2' },
    { name: 'VAR2', value: 'word3' },
    { name: 'VAR3', value: '$word 5 6' },
  ])
  assert.deepEqual(readEnvironmentLine(`A='x y' B=50%% C="a\\"b"`), [
    { name: 'A', value: 'x y' },
    { name: 'B', value: '50%' },
    { name: 'C', value: 'a"b' },
  ])
})

test('a connection string keeps the signs at its end', () => {
  const [found] = readEnvironmentLine('"CONNECTION_STRING=HostName=h;DeviceId=d;SharedAccessKey=abc="')
  assert.equal(found?.value, 'HostName=h;DeviceId=d;SharedAccessKey=abc=')
  const [inFile] = readEnvironmentFile('CONNECTION_STRING=HostName=h;DeviceId=d;SharedAccessKey=ab+/c==\n')
  assert.equal(inFile?.value, 'HostName=h;DeviceId=d;SharedAccessKey=ab+/c==')
})

test('an environment file has comments, quotes, blanks and continued lines', () => {
  const text = `# DEVICE_ID=no\n; X=no\n A = plain text  \nB="in \\"quotes\\" \\n"\nC='single'\nD=one\\\ntwo\n\nnot a line\n`
  assert.deepEqual(readEnvironmentFile(text), [
    { name: 'A', value: 'plain text' },
    { name: 'B', value: 'in "quotes" \\n' },
    { name: 'C', value: 'single' },
    { name: 'D', value: 'one two' },
  ])
})

test('assignments know their section, and a comment inside a continued line is left out', () => {
  const text = `[Unit]\nDescription=x\n[Service]\n# note\nExecStart=/usr/bin/python3 \\\n# between\n  -u /opt/a.py\n`
  assert.deepEqual(readAssignments(text).at(-1), {
    section: 'Service',
    key: 'ExecStart',
    value: '/usr/bin/python3  -u /opt/a.py',
  })
  assert.deepEqual(splitWords(`/bin/sh -c 'cd /opt && python3 x.py'`), ['/bin/sh', '-c', 'cd /opt && python3 x.py'])
})
