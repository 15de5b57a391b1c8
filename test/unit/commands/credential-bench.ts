import { join } from 'node:path'
import type { CommandEnvironment, CredentialSettings } from '../../../agent/commands/credential-command.ts'
import { createFakeClock } from '../../kit/clock.ts'
import type { FakeClock } from '../../kit/clock.ts'
import { keysInFile } from '../credential/fixture.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

/** A command with its surroundings: what it printed, whom it became, what lies on its disk. */
export interface CommandBench extends AsyncDisposable {
  readonly path: string
  readonly settings: CredentialSettings
  readonly clock: FakeClock
  readonly environment: CommandEnvironment
  /** What was printed since the last call. */
  printed(): { readonly stdout: string; readonly stderr: string }
  /** Folders whose owner the command wanted to become, in order. */
  readonly became: readonly string[]
}

export async function makeCommandBench(stdin: readonly string[] = []): Promise<CommandBench> {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock(Date.now())
  const became: string[] = []
  let [stdout, stderr] = ['', '']
  return {
    path: folder.path,
    clock,
    became,
    settings: {
      stateDir: join(folder.path, 'state'),
      registrationId: 'edge-0042',
      ...keysInFile,
      keyType: 'ec-p256',
      requestsDir: join(folder.path, 'requests'),
      issuedDir: join(folder.path, 'issued'),
    },
    environment: {
      stdout: (text) => (stdout += text),
      stderr: (text) => (stderr += text),
      stdin: streamOf(stdin),
      clock,
      actAsOwner: (path) => {
        became.push(path)
        return Promise.resolve(false)
      },
    },
    printed() {
      const both = { stdout, stderr }
      ;[stdout, stderr] = ['', '']
      return both
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

async function* streamOf(parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}
