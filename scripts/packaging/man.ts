/** The manual page, from the commands themselves. Source: man-pages(7), groff_man(7). */
import type { Command, Option } from 'commander'
import { exitCodes } from '../../agent/commands/exit-codes.ts'
import type { PackageAbout } from './about.ts'

const files: readonly (readonly [string, string])[] = [
  ['/etc/iot-device-agent/config.toml, config.d/*.toml', 'The settings of the owner. The package never writes here.'],
  ['/etc/iot-device-agent/secrets/', 'Files with secrets that the settings name, mode 0600.'],
  ['/usr/lib/iot-device-agent/config.d/*.toml', 'Defaults of whoever built the image; weaker than all in /etc.'],
  ['/usr/share/doc/iot-device-agent/config.example.toml', 'Every setting with its meaning.'],
  ['/var/lib/iot-device-agent/', 'Keys, certificates, assigned hub, samples that wait. For the agent alone.'],
  ['/run/iot-device-agent/telemetry.sock', 'Where programs of this device hand in samples.'],
]

const exits: Readonly<Record<keyof typeof exitCodes, string>> = {
  fine: 'All is well.',
  failed: 'It failed, or the device is not connected.',
  usage: 'The command line is wrong.',
  notAsWanted: 'Connected, but not as wanted.',
  needsAttentionSoon: 'Connected; something needs attention soon.',
  agentNotRunning: 'The agent does not run.',
  configurationInvalid: 'The configuration is wrong; all problems are printed.',
}

/** Section 8: what an administrator types. */
export function manualPage(program: Command, { version, sourceTimeMs }: PackageAbout): string {
  const date = new Date(sourceTimeMs).toISOString().slice(0, 10)
  return [
    `.TH IOT\\-DEVICE\\-AGENT 8 ${date} "iot\\-device\\-agent ${plain(version)}"`,
    '.SH NAME',
    'iot\\-device\\-agent \\- device identity and telemetry agent for Azure IoT',
    '.SH SYNOPSIS',
    '.B iot\\-device\\-agent',
    '.I command',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    plain(program.description()),
    plain(
      'It makes the private key of this device on this device, provisions through DPS and sends telemetry to IoT Hub.',
    ),
    plain('systemd runs it; a technician asks it. Begin with "iot-device-agent status".'),
    '.SH COMMANDS',
    ...leaves(program, []).flatMap(({ words, command }) => entry(words, command)),
    '.SH EXIT STATUS',
    ...Object.entries(exitCodes).flatMap(([name, code]) => term(String(code), exits[name as keyof typeof exits])),
    '.SH FILES',
    ...files.flatMap(([path, meaning]) => term(path, meaning)),
    '.SH SEE ALSO',
    '.BR systemctl (1),',
    '.BR journalctl (1)',
    '',
  ].join('\n')
}

export interface Leaf {
  readonly words: readonly string[]
  readonly command: Command
}

/** Every command that does something, with the words that call it. */
export function leaves(command: Command, words: readonly string[]): readonly Leaf[] {
  return command.commands.flatMap((child) => {
    const own = [...words, child.name()]
    return child.commands.length > 0 ? leaves(child, own) : [{ words: own, command: child }]
  })
}

function entry(words: readonly string[], command: Command): readonly string[] {
  const given = command.registeredArguments.map((argument) => `\\fI${plain(argument.name())}\\fR`)
  const head = [`\\fB${plain(words.join(' '))}\\fR`, ...given].join(' ')
  const options = command.options.map((option) => plain(optionText(option)))
  return ['.TP', head, plain(`${command.description()}.`), ...options.flatMap((text) => ['.br', text])]
}

function optionText({ flags, description, argChoices }: Option): string {
  const choices = argChoices === undefined ? '' : argChoices.join(', ')
  const meaning = [description, choices].filter((text) => text !== '').join(': ')
  return meaning === '' ? flags : `${flags}: ${meaning}`
}

function term(head: string, meaning: string): readonly string[] {
  return ['.TP', `\\fB${plain(head)}\\fR`, plain(meaning)]
}

/** Text that troff takes as it is. */
function plain(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1')
}
