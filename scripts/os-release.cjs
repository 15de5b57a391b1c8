/**
 * Takes the place of getos in the bundle, for the name of the system in what the SDK tells the hub of its client. getos asks
 * the program lsb_release for it, before every first connection; the file below has been on every system with systemd.
 */
const { readFileSync } = require('node:fs')

/** Source: os-release(5). */
const FILE = '/etc/os-release'

module.exports = function getOs(done) {
  let text
  try {
    text = readFileSync(FILE, 'utf8')
  } catch (error) {
    // The SDK then says "unknown".
    return done(error)
  }
  const value = (name) => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? ''
  done(null, { os: 'linux', dist: value('NAME'), release: value('VERSION_ID') })
}
