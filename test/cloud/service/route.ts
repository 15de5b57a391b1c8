import type { Call, Reply } from './exchange.ts'

/** One operation of a REST API on `T`. In `path` a star stands for one segment, which `run` gets as `id`. */
export interface RouteRow<T> {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  /** Any of them lets a caller in. */
  readonly rights: readonly string[]
  run(target: T, call: Call, id: string): Reply | Promise<Reply>
}

/** The first row that fits; fixed segments ignore case, as `/enrollmentgroups` and `/enrollmentGroups` are both sent. */
export function findRoute<T>(
  rows: readonly RouteRow<T>[],
  call: Call,
): { readonly row: RouteRow<T>; readonly id: string } | undefined {
  for (const row of rows) {
    const pattern = row.path.split('/')
    const fits =
      row.method === call.method &&
      pattern.length === call.path.length &&
      pattern.every((part, index) => part === '*' || part.toLowerCase() === call.path[index]?.toLowerCase())
    if (fits) return { row, id: call.path[pattern.indexOf('*')] ?? '' }
  }
  return undefined
}
