import assert from 'node:assert/strict'

import type { OfficialClient, RefusalKind } from './client.ts'

/** Passes when the client raised the class that its documentation names, with the text that shows the service's own reason. */
export async function refusedAs(client: OfficialClient, kind: RefusalKind, attempt: Promise<unknown>): Promise<void> {
  const { name, text } = client.refusals[kind]
  await assert.rejects(attempt, { name, message: text })
}
