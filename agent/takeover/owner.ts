import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { readIfThere } from '../system/files.ts'

/** The user that the agent runs as. */
export interface AgentUser {
  readonly uid: number
  readonly gid: number
}

const NAME = 'iot-device-agent'

/** @throws Failure IMPORT_NOT_POSSIBLE there is no such user */
export async function agentUser(root: string): Promise<AgentUser> {
  const lines = ((await readIfThere(join(root, '/etc/passwd'))) ?? '').split('\n')
  const [, , uid, gid] = lines.map((line) => line.split(':')).find(([name]) => name === NAME) ?? []
  if (uid === undefined || gid === undefined || !/^\d+$/.test(uid) || !/^\d+$/.test(gid)) {
    const fact = `there is no user ${NAME} in /etc/passwd; the package makes it: systemd-sysusers iot-device-agent.conf`
    throw new Failure('IMPORT_NOT_POSSIBLE', fact)
  }
  return { uid: Number(uid), gid: Number(gid) }
}
