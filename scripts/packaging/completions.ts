/** Completions for the shells, from the commands themselves. */
import type { Command } from 'commander'
import { leaves } from './man.ts'

interface Words {
  /** What has been typed, joined by blanks. */
  readonly typed: string
  /** What may come next, with its meaning. */
  readonly next: readonly (readonly [word: string, meaning: string])[]
}

/** What may follow each beginning of a command line. */
export function nextWords(program: Command): readonly Words[] {
  const groups = [program, ...program.commands.filter((command) => command.commands.length > 0)]
  const begun = groups.map((group) => ({
    typed: group === program ? '' : group.name(),
    next: group.commands.map((command) => [command.name(), command.description()] as const),
  }))
  const typed = leaves(program, []).map(({ words, command }) => ({
    typed: words.join(' '),
    next: [
      ...command.registeredArguments.flatMap(({ argChoices }) => (argChoices ?? []).map((word) => [word, ''] as const)),
      ...command.options.map(({ long, description }) => [long ?? '', description] as const),
    ],
  }))
  return [...begun, ...typed]
}

/** Source: the manual of bash, "Programmable Completion". */
export function bashCompletion(program: Command): string {
  const cases = nextWords(program).map(
    ({ typed, next }) => `    '${typed}') words='${next.map(([word]) => word).join(' ')}' ;;`,
  )
  return `# Completion of iot-device-agent for bash.
_iot_device_agent() {
  local typed words current=\${COMP_WORDS[COMP_CWORD]}
  typed=\${COMP_WORDS[1]:-}
  [ "$COMP_CWORD" -eq 1 ] && typed=
  if [ "$typed" = config ] && [ "$COMP_CWORD" -gt 2 ]; then typed="config \${COMP_WORDS[2]}"; fi
  case $typed in
${cases.join('\n')}
    *) words= ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _iot_device_agent iot-device-agent
`
}

/** Source: zshcompsys(1). */
export function zshCompletion(program: Command): string {
  const cases = nextWords(program).map(
    ({ typed, next }) =>
      `    '${typed}') words=(${next.map(([word, meaning]) => quoted(described(word, meaning))).join(' ')}) ;;`,
  )
  return `#compdef iot-device-agent
# Completion of iot-device-agent for zsh.
local typed=\${words[2]}
(( CURRENT == 2 )) && typed=
[[ $typed = config && $CURRENT -gt 3 ]] && typed="config \${words[3]}"
() {
  local -a words
  case $1 in
${cases.join('\n')}
  esac
  _describe 'iot-device-agent' words || _files
} "$typed"
`
}

/** Source: the manual of fish, "complete". */
export function fishCompletion(program: Command): string {
  const lines = nextWords(program).flatMap(({ typed, next }) => {
    const when = typed === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${typed.split(' ').at(-1) ?? ''}`
    return next.map(([word, meaning]) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
      return `complete -c iot-device-agent -n '${when}' ${what} -d ${quoted(meaning)}`
    })
  })
  return `# Completion of iot-device-agent for fish.\n${lines.join('\n')}\n`
}

function described(word: string, meaning: string): string {
  return meaning === '' ? word : `${word}:${meaning.replaceAll(':', '\\:')}`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", '’')}'`
}
