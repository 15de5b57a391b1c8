/** What is in the packages, and that the same source gives the same bytes. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import about from '../../package.json' with { type: 'json' }
import { makeTemporaryFolder } from '../kit/openssl.ts'

const run = promisify(execFile)
const top = fileURLToPath(new URL('../..', import.meta.url))
const built = (name: string, arch: string) => join(top, 'build/packages', `${name}_${about.version}_${arch}.deb`)

const packages = [
  built('iot-device-agent', 'amd64'),
  built('iot-device-agent', 'arm64'),
  built('iot-device-agent-system-node', 'all'),
]

for (const deb of packages) {
  test(`${basename(deb)} owns nothing of the administrator's, and everything in it is root's`, async () => {
    const { stdout } = await run('dpkg-deb', ['--contents', deb])
    const entries = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/))
    const paths = entries.map(([, , , , , path = '']) => path)
    assert.deepEqual(
      paths.filter((path) => !/^\.\/(usr\/.*)?$/.test(path)),
      [],
    )
    assert.deepEqual(
      entries.filter(([, owner]) => owner !== 'root/root'),
      [],
    )
    // No set-user-ID, and nobody but root may write.
    assert.deepEqual(
      entries.filter(([mode = '']) => !mode.startsWith('l') && !/^[d-]rw[x-]r-[x-]r-[x-]$/.test(mode)),
      [],
    )
    const { stdout: conffiles } = await run('dpkg-deb', ['--info', deb])
    assert.doesNotMatch(conffiles, /conffiles/)
  })

  test(`lintian finds nothing in ${basename(deb)}`, async () => {
    // Debian 12 installs packages packed with zstd, and its lintian does not know them.
    const words = ['--fail-on', 'error,warning', '--suppress-tags', 'malformed-deb-archive', '--allow-root', deb]
    const { stdout } = await run('lintian', words)
    assert.equal(stdout, '')
  })
}

test('another folder and another user mask give the same bytes', async () => {
  await using folder = await makeTemporaryFolder()
  const copy = join(folder.path, 'elsewhere', 'sources')
  const { stdout: files } = await run('git', ['-C', top, 'ls-files', '-co', '--exclude-standard', '-z'])
  const list = join(folder.path, 'files')
  await writeFile(list, files)
  const script = `umask 077; mkdir -p "$2"; cd "$1"; tar -c --null -T "$3" --ignore-failed-read | tar -x -C "$2"; cp -al "$1/node_modules" "$2/" || cp -a "$1/node_modules" "$2/"`
  await run('sh', ['-ec', script, 'sh', top, copy, list])
  const { stdout: seconds } = await run('git', ['-C', top, 'log', '-1', '--format=%ct'])
  const out = join(folder.path, 'out')
  const words = ['--arch', 'amd64', '--arch', 'all', '--compression', 'zstd', '--out', out]
  await run('sh', ['-ec', 'umask 077; cd "$1"; shift; scripts/package "$@"', 'sh', copy, ...words], {
    env: { ...process.env, SOURCE_DATE_EPOCH: seconds.trim(), TMPDIR: folder.path },
  })
  for (const deb of packages.filter((path) => !path.includes('arm64'))) {
    const [here, there] = await Promise.all([readFile(deb), readFile(join(out, basename(deb)))])
    assert.ok(here.equals(there), `${basename(deb)} differs`)
  }
})

test('apt takes the package from the signed repository, and no other list of packages than the signed one', async () => {
  await using folder = await makeTemporaryFolder()
  const repository = join(folder.path, 'repository')
  const [deb = ''] = packages
  const { stdout: sources } = await run(join(top, 'scripts/apt-repository'), [repository, 'new', deb])
  const list = join(folder.path, 'agent.sources')
  await writeFile(list, sources)
  const options = [
    ...['Dir::Etc::sourcelist', 'Dir::Etc::sourceparts'].flatMap((name) => ['-o', `${name}=${list}`]),
    ...['-o', `Dir::State=${folder.path}/state`, '-o', `Dir::Cache=${folder.path}/cache`],
    ...['-o', 'APT::Sandbox::User=root', '-o', 'APT::Update::Error-Mode=any'],
  ]
  await run('mkdir', ['-p', join(folder.path, 'state/lists/partial'), join(folder.path, 'cache/archives/partial')])
  await run('apt-get', [...options, 'update'])
  await run('apt-get', [...options, 'download', 'iot-device-agent'], { cwd: folder.path })
  assert.ok((await readFile(join(folder.path, basename(deb)))).equals(await readFile(deb)))

  await appendFile(join(repository, 'Packages'), '\nPackage: something-else\n')
  await run('rm', ['-r', join(folder.path, 'state/lists'), join(repository, 'Packages.gz')])
  await run('mkdir', ['-p', join(folder.path, 'state/lists/partial')])
  await assert.rejects(run('apt-get', [...options, 'update']))
})
