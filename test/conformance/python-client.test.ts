import { after, describe } from 'node:test'

import { openAzure } from './azure.ts'
import { pythonClients } from './python-client.ts'
import { judgeRegistration, judgeTrouble } from './registration-suite.ts'
import { judgeSession } from './session-suite.ts'

const azure = await openAzure()
after(() => azure[Symbol.asyncDispose]())

for (const client of pythonClients(azure.caFile)) {
  describe(client.name, { concurrency: 4 }, () => {
    judgeRegistration(azure, client)
    judgeSession(azure, client)
  })
  describe(`${client.name}, with DPS in trouble`, () => judgeTrouble(azure, client))
}
