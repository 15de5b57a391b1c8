import { parentPort, Worker } from 'node:worker_threads'

/**
 * Runs a module in a thread of its own and resolves with the first message that it posts. The test runner follows every
 * promise of its own thread, which makes a world of promises ten times slower.
 */
export function runApart<T>(module: string, input: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(module, import.meta.url), { workerData: input })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`${module} has ended with ${code} and without a word`)))
  })
}

/** Says the outcome to whoever runs this module apart. */
export function tellOutcome(outcome: unknown): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(outcome)
}
