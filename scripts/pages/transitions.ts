import type { EventName, Phase } from '../../agent/credential/lifecycle.ts'
import { code, markdownTable } from './markdown.ts'
import { replaceBetweenMarkers } from './markers.ts'
import { eventNames, legalSteps, phases } from './steps.ts'
import type { Step } from './steps.ts'

/** docs/transitions.md: the drawing and the table of steps come from the table in the code, the rest is written by hand. */
export function transitionsPage(page = ''): string {
  const steps = legalSteps()
  const drawn = replaceBetweenMarkers(page, 'diagram', `\`\`\`text\n${drawSteps(phases, steps)}\n\`\`\``)
  return replaceBetweenMarkers(drawn, 'steps', stepsTable(phases, eventNames, steps))
}

/**
 * The phases as boxes below each other, in their order. What leads to the next one goes down, what leads elsewhere stands
 * beside the box with its aim, and what stays comes last.
 */
export function drawSteps(order: readonly Phase[], steps: readonly Step[]): string {
  const width = Math.max(...order.map((phase) => phase.length)) + 2
  return order.flatMap((phase, index) => drawPhase(phase, order[index + 1], steps, width)).join('\n')
}

function drawPhase(phase: Phase, below: Phase | undefined, steps: readonly Step[], width: number): readonly string[] {
  const own = steps.filter(({ from }) => from === phase)
  const down = own.filter(({ to }) => to === below)
  const aside = [...asideOf(own.filter(({ to }) => to !== below && to !== phase)), ...staysOf(own, phase)]
  const line = '─'.repeat(width)
  const beside = (row: number) => (aside[row] === undefined ? '' : `  ${aside[row]}`)
  const box = [
    `┌${line}┐${beside(1)}`,
    `│ ${phase.padEnd(width - 1)}│${beside(0)}`,
    `└${line}┘${beside(2)}`,
    ...aside.slice(3).map((text) => `${' '.repeat(width + 4)}${text}`),
  ]
  if (below === undefined) return box
  if (down.length === 0) return [...box, '']
  return [...box, `     │ ${namesOf(down)}`, '     ▼']
}

/** One line for each aim, as `── failed, restarted ─▶ rollingBack`. */
function asideOf(steps: readonly Step[]): readonly string[] {
  const aims = Map.groupBy(steps, ({ to }) => to)
  return [...aims].map(([to, here]) => `── ${namesOf(here)} ─▶ ${to}`)
}

function staysOf(steps: readonly Step[], phase: Phase): readonly string[] {
  const stays = steps.filter(({ to }) => to === phase)
  return stays.length === 0 ? [] : [`⟲  ${namesOf(stays)}`]
}

function namesOf(steps: readonly Step[]): string {
  return steps.map(({ event, adopts }) => (adopts ? `${event} *` : event)).join(', ')
}

/** Phase × event → phase; an empty cell is an event that is ignored. */
export function stepsTable(order: readonly Phase[], names: readonly EventName[], steps: readonly Step[]): string {
  const cellOf = (phase: Phase, event: EventName): string => {
    const step = steps.find(({ from, event: by }) => from === phase && by === event)
    if (step === undefined) return ''
    return `${step.to === phase ? 'stays' : step.to}${step.adopts ? ' *' : ''}`
  }
  const rows = order.map((phase) => [code(phase), ...names.map((event) => cellOf(phase, event))])
  return markdownTable(['', ...names.map(code)], rows)
}
