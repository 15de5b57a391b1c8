/** What a transaction changes in memory, so that it can be taken back with the transaction. */
export interface Undo {
  begin(): void
  /** Kept until the transaction ends; outside of one a change is for good. */
  note(revert: () => void): void
  keep(): void
  revert(): void
}

export function createUndo(): Undo {
  let reverts: (() => void)[] | undefined
  return {
    begin() {
      reverts = []
    },
    note: (revert) => void reverts?.push(revert),
    keep() {
      reverts = undefined
    },
    revert() {
      const noted = reverts ?? []
      reverts = undefined
      for (const revert of noted.toReversed()) revert()
    },
  }
}
