import { verdictExits } from '../control/verdict.ts'

/** What a command ends with. Source: ARCHITECTURE.md, "Commands and exit codes". */
export const exitCodes = {
  fine: verdictExits.fine,
  failed: 1,
  usage: 2,
  /** Connected, but not as wanted. */
  notAsWanted: verdictExits.notAsWanted,
  needsAttentionSoon: verdictExits.needsAttentionSoon,
  agentNotRunning: 5,
  /** EX_CONFIG of sysexits.h; systemd does not restart on it. */
  configurationInvalid: 78,
} as const
