import mqttBase from 'azure-iot-mqtt-base'
import type { MqttBaseTransportConfig } from 'azure-iot-mqtt-base'
import type { IClientOptions, IClientSubscribeOptions, MqttClient } from 'mqtt'

/** One message as it came from the other side. */
export interface Delivery {
  readonly topic: string
  readonly payload: Buffer
}

/** What stands between mqtt.js and the SDK. */
export interface Guard {
  /** Starts the one connection of this base; `options` are those of the SDK. */
  connect(options: IClientOptions): MqttClient
  /** Sees every message before the SDK does; what it returns is what the SDK sees, undefined hides the message. */
  receive(delivery: Delivery): Delivery | undefined
  /** What goes out in place of a message of the SDK. */
  send(topic: string, payload: unknown): unknown
  /** The error of a subscription that the other side did not grant. */
  refuse(topic: string): Error
}

type Done = (error?: Error, result?: unknown) => void

/** SUBACK return code for "failure". Source: MQTT 3.1.1 section 3.9.3. */
const SUBACK_FAILURE = 0x80

/**
 * The connection of both SDK transports, for one use. A second `connect` is refused through its callback (retries that
 * the SDK still has pending must not come back as zombies), a refused subscription is an error, and connection errors
 * are not emitted: some states of the SDK have no listener for them, and who owns the wire sees them there.
 */
export class GuardedBase extends mqttBase.MqttBase {
  readonly #guard: Guard
  #used = false

  constructor(guard: Guard) {
    super({ connect: (_uri: string, options: IClientOptions) => guard.connect(options) })
    this.#guard = guard
  }

  override connect(config: MqttBaseTransportConfig, done: Done): void {
    if (this.#used) return done(new Error('this connection is used up'))
    this.#used = true
    try {
      super.connect(config, done)
    } catch (cause) {
      done(cause instanceof Error ? cause : new Error(String(cause)))
    }
  }

  override subscribe(topic: string, options: IClientSubscribeOptions, done: Done): void {
    super.subscribe(topic, options, (error, granted: unknown) => {
      const refused = error === undefined || error === null ? refusedTopic(granted) : undefined
      if (refused === undefined) return done(error, granted)
      return done(this.#guard.refuse(refused))
    })
  }

  /** Keeps the acknowledged packet from the SDK, which would make JSON of it, the body as an array of numbers, for a log. */
  override publish(topic: string, payload: unknown, options: object, done: Done): void {
    super.publish(topic, this.#guard.send(topic, payload), options, (error) => done(error))
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'error') return true
    if (event !== 'message') return super.emit(event, ...args)
    const [topic, payload] = args as [string, Buffer]
    const shown = this.#guard.receive({ topic, payload })
    if (shown !== undefined) this.deliver(shown)
    return true
  }

  /** Hands a message to the SDK without asking the guard. */
  deliver(delivery: Delivery): void {
    super.emit('message', delivery.topic, delivery.payload)
  }
}

/** The first topic of a SUBACK that was not granted. `granted` is what mqtt.js hands to its callback. */
export function refusedTopic(granted: unknown): string | undefined {
  if (!Array.isArray(granted)) return undefined
  const list = granted as readonly { readonly topic: string; readonly qos: number }[]
  return list.find((grant) => grant.qos === SUBACK_FAILURE)?.topic
}
