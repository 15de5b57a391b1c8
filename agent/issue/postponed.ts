/** Rounds for which a chain is given again whose dates do not fit: the clock may be what is wrong, and be set meanwhile. */
const MOST_ROUNDS = 10

/** A chain that came too early or too late by the clock of the device; after a number of rounds the issuer is asked anew. */
export interface Postponed {
  /** @returns whether it will be given once more */
  keep(pem: string): boolean
  /** Gives it out. */
  take(): string | undefined
  /** Something else has come of it. */
  forget(): void
}

export function createPostponed(): Postponed {
  let kept: string | undefined
  let rounds = 0
  const forget = () => {
    kept = undefined
    rounds = 0
  }
  return {
    forget,
    keep(pem) {
      rounds += 1
      if (rounds > MOST_ROUNDS) forget()
      else kept = pem
      return kept !== undefined
    },
    take() {
      const pem = kept
      kept = undefined
      return pem
    },
  }
}
