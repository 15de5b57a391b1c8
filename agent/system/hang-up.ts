/** Calls back at each SIGHUP of this process, until it is disposed of. What it calls must not throw. */
export function onHangUp(callback: () => void): Disposable {
  process.on('SIGHUP', callback)
  return {
    [Symbol.dispose]() {
      process.off('SIGHUP', callback)
    },
  }
}
