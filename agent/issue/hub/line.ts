/** One answer of the hub to a certificate request; there may be several to one, and they may be of an earlier session. */
export interface CredentialAnswer {
  readonly status: number
  /** Of the request that it answers; empty when the topic has none. */
  readonly rid: string
  /** JSON, unchecked. */
  readonly text: string
}

/** A session with the hub, as far as certificates are asked for on it. */
export interface CredentialLine {
  /** What the hub knows the device by. */
  readonly deviceId: string
  /** Resolves when the session is over. */
  readonly ended: Promise<unknown>
  /**
   * Has the answers heard from now on, and gives the way to hand in a request: its ID, and the body.
   *
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER, or of a session that has ended
   */
  openCredentials(onAnswer: (answer: CredentialAnswer) => void): Promise<(rid: string, body: string) => Promise<void>>
}
