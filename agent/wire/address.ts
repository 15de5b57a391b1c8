/** Where an endpoint is reached: `host` is also the SNI name and the name its certificate must carry. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** MQTT over TLS. Source: IANA; the only MQTT port of DPS and IoT Hub. */
const MQTT_TLS_PORT = 8883

/** RFC 1123 section 2.1: letters, digits and inner hyphens, at most 63 in a label. */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** Longest name that DNS can carry, in characters. Source: RFC 1035 section 2.3.4. */
const MAX_HOST_LENGTH = 253

/**
 * Reads `name` or `name:port`; the port defaults to 8883. Undefined when it is not a host name with a usable port,
 * so that a name which came over the network never reaches a resolver or a log as it is.
 */
export function parseAddress(text: string): Address | undefined {
  const [name = '', portText, ...rest] = text.toLowerCase().split(':')
  if (rest.length > 0 || name.length > MAX_HOST_LENGTH) return undefined
  if (!name.split('.').every((label) => LABEL.test(label))) return undefined
  const port = portText === undefined ? MQTT_TLS_PORT : parsePort(portText)
  return port === undefined ? undefined : { host: name, port }
}

function parsePort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined
  const port = Number(text)
  return port >= 1 && port <= 65_535 ? port : undefined
}
