import { constants } from 'node:fs'
import { chmod, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PRIVATE_FILE, errorCode, makePrivateFolder, syncFolder } from '../../system/files.ts'
import { storeFailure, torn } from './errors.ts'
import { APPLICATION_ID, CONNECTION_PRAGMAS, CREATE_TABLES, LAYOUT_VERSION } from './schema.ts'

/** The name by which SQLite knows a database that is in no file. */
export const IN_MEMORY = ':memory:'

/** A number that SQLite tells of itself. */
export function pragma(database: DatabaseSync, name: string): number {
  return Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0])
}

/**
 * Opens the file of an outbox for this process alone, and makes it when there is none: only its owner may read it, and it
 * survives a power cut as an empty one.
 *
 * @param path IN_MEMORY for none
 * @throws Failure OUTBOX_TORN  it is damaged, or the file of something else
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function openDatabase(path: string): Promise<DatabaseSync> {
  try {
    if (path !== IN_MEMORY) await prepareFile(path)
    const database = openPrepared(path)
    if (path !== IN_MEMORY) await syncFolder(dirname(path))
    return database
  } catch (error) {
    throw storeFailure(path, error)
  }
}

function openPrepared(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { defensive: true })
  try {
    database.exec(CONNECTION_PRAGMAS)
    if (isNew(database)) createTables(database)
    const [application, layout] = [pragma(database, 'application_id'), pragma(database, 'user_version')]
    if (application !== APPLICATION_ID || layout !== LAYOUT_VERSION)
      throw torn(path, `its header names application ${application}, layout ${layout}`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** SQLite gives its log the mode of the database. */
async function prepareFile(path: string): Promise<void> {
  await makePrivateFolder(dirname(path))
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  {
    await using file = await open(path, flags, PRIVATE_FILE)
    await file.chmod(PRIVATE_FILE)
  }
  await chmod(`${path}-wal`, PRIVATE_FILE).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error
  })
}

function isNew(database: DatabaseSync): boolean {
  return pragma(database, 'user_version') === 0 && database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined
}

function createTables(database: DatabaseSync): void {
  database.exec(`BEGIN IMMEDIATE; ${CREATE_TABLES}; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)`)
}
