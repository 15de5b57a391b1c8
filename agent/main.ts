import { exitCodeOf, program } from './command-line.ts'

program.parseAsync().catch((error: unknown) => {
  process.exitCode = exitCodeOf(error)
})
