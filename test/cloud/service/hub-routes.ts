/** REST of IoT Hub, api-version 2021-04-12, as the package azure-iothub calls it. */
import type { Call, Reply } from './exchange.ts'
import {
  bulkDevices,
  deleteDevice,
  deviceStatistics,
  getDevice,
  listDevices,
  putDevice,
  serviceStatistics,
} from './hub-registry.ts'
import { changeTwin, getTwin, invokeMethod, queryDevices } from './hub-twins.ts'
import type { ServiceHub } from './identity-form.ts'
import type { RouteRow } from './route.ts'

const read = ['registryRead', 'registryWrite']
const write = ['registryWrite']
const connect = ['serviceConnect']

export const hubRoutes: readonly RouteRow<ServiceHub>[] = [
  { method: 'GET', path: 'devices', rights: read, run: listDevices },
  { method: 'POST', path: 'devices', rights: write, run: bulkDevices },
  { method: 'POST', path: 'devices/query', rights: [...read, ...connect], run: queryDevices },
  { method: 'GET', path: 'devices/*', rights: read, run: (hub, _call, id) => getDevice(hub, id) },
  { method: 'PUT', path: 'devices/*', rights: write, run: (hub, call, id) => putDevice(hub, id, call) },
  { method: 'DELETE', path: 'devices/*', rights: write, run: removeDevice },
  { method: 'GET', path: 'twins/*', rights: connect, run: (hub, _call, id) => getTwin(hub, id) },
  { method: 'PATCH', path: 'twins/*', rights: connect, run: (hub, call, id) => changeTwin(hub, id, call) },
  { method: 'PUT', path: 'twins/*', rights: connect, run: (hub, call, id) => changeTwin(hub, id, call) },
  { method: 'POST', path: 'twins/*/methods', rights: connect, run: (hub, call, id) => invokeMethod(hub, id, call) },
  { method: 'GET', path: 'statistics/devices', rights: read, run: deviceStatistics },
  { method: 'GET', path: 'statistics/service', rights: connect, run: serviceStatistics },
]

function removeDevice(hub: ServiceHub, call: Call, deviceId: string): Reply {
  return deleteDevice(hub, deviceId, call.header('if-match'))
}
