import { Failure } from '../../failure.ts'
import { createGather } from './gather.ts'

/** Longest line: an envelope may need more bytes than the message that comes of it. */
export const MAX_LINE_BYTES = 512 * 1024

const LINE_FEED = 0x0a

/**
 * Cuts a stream of bytes into lines, wherever its chunks end: for each chunk the lines that have ended in it, and at the
 * end the last one, which needs no line end. Line ends are not part of them. Keeps no more than one line.
 *
 * @throws Failure TELEMETRY_TOO_LARGE a line has more than `MAX_LINE_BYTES`; what came before it has been given out
 */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<readonly Buffer[]> {
  const begun = createGather()
  for await (const chunk of chunks) {
    const lines: Buffer[] = []
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      begun.add(chunk.subarray(start, end))
      if (begun.bytes() > MAX_LINE_BYTES) break
      lines.push(begun.take())
      start = end + 1
    }
    if (begun.bytes() <= MAX_LINE_BYTES) begun.add(chunk.subarray(start))
    if (lines.length > 0) yield lines
    if (begun.bytes() > MAX_LINE_BYTES) {
      throw new Failure('TELEMETRY_TOO_LARGE', `a line is longer than ${MAX_LINE_BYTES} bytes`)
    }
  }
  if (begun.bytes() > 0) yield [begun.take()]
}
