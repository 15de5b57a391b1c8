/** Topic names and filters of MQTT 3.1.1, section 4.7. Pure. */

/** Whether `filter` covers `topic`; wildcards at the front never cover a topic that begins with `$`. */
export function covers(filter: string, topic: string): boolean {
  if (filter === topic) return true
  const wanted = filter.split('/')
  const given = topic.split('/')
  if (topic.startsWith('$') && (wanted[0] === '#' || wanted[0] === '+')) return false
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true
    if (given[index] === undefined || (level !== '+' && level !== given[index])) return false
  }
  return wanted.length === given.length
}

/** A filter with `#` at the end only and `+` as a whole level only. */
export function isFilter(filter: string): boolean {
  if (filter === '' || isIllFormed(filter)) return false
  const levels = filter.split('/')
  return levels.every(
    (level, index) => (level === '#' && index === levels.length - 1) || level === '+' || !/[#+]/.test(level),
  )
}

/** A name to publish to: not empty, no wildcard. */
export function isTopicName(topic: string): boolean {
  return topic !== '' && !isIllFormed(topic) && !/[#+]/.test(topic)
}

/** Section 1.5.3: U+0000 is forbidden, and ill-formed UTF-8 was decoded to U+FFFD. */
export function isIllFormed(text: string): boolean {
  return text.includes('\0') || text.includes('\uFFFD')
}
