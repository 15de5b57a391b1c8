/** The rules of ARCHITECTURE.md as data, and the check that holds a tree of sources against them. */

/** Folder of agent/ (or a file at its top) → what it may import at run time. `*` is everything below agent/. */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  'failure.ts': ['failure-table.ts'],
  'failure-table.ts': [
    'auth-failures.ts',
    'telemetry-failures.ts',
    'package-failures.ts',
    'import-failures.ts',
    'issue-failures.ts',
  ],
  'auth-failures.ts': ['failure-table.ts'],
  'telemetry-failures.ts': ['failure-table.ts'],
  'package-failures.ts': ['failure-table.ts'],
  'import-failures.ts': ['failure-table.ts'],
  'issue-failures.ts': ['failure-table.ts'],
  'version.ts': [],
  system: ['failure.ts'],
  config: ['failure.ts', 'system'],
  pki: ['failure.ts', 'system'],
  health: ['failure.ts', 'system'],
  wire: ['failure.ts', 'system', 'pki'],
  credential: ['failure.ts', 'system', 'pki'],
  issue: ['failure.ts', 'system', 'pki'],
  provision: ['failure.ts', 'system', 'pki', 'wire'],
  hub: ['failure.ts', 'system', 'pki', 'wire'],
  methods: ['failure.ts', 'system'],
  twin: ['failure.ts'],
  telemetry: ['failure.ts', 'system'],
  time: ['failure.ts', 'system'],
  control: ['failure.ts', 'system'],
  takeover: ['failure.ts', 'system', 'config', 'control', 'pki', 'credential'],
  commands: ['config', 'control', 'credential', 'health', 'pki', 'takeover', 'failure.ts', 'system', 'version.ts'],
  'facts.ts': ['*'],
  'machine.ts': ['*'],
  'policy.ts': ['*'],
  'loaded.ts': ['*'],
  'auth.ts': ['*'],
  'clock-watch.ts': ['*'],
  'flow.ts': ['*'],
  'certificate.ts': ['*'],
  'issuer.ts': ['*'],
  'managed.ts': ['*'],
  'live.ts': ['*'],
  'over-hub.ts': ['*'],
  'link.ts': ['*'],
  'connected.ts': ['*'],
  'reload.ts': ['*'],
  'agent.ts': ['*'],
  'held.ts': ['*'],
  'main.ts': ['*'],
  'command-line.ts': ['*'],
}

/** More that may be imported as types only: the shape of a thing, never its code. */
const typeArrows: Readonly<Record<string, readonly string[]>> = {
  methods: ['credential'],
  twin: ['credential', 'health', 'system'],
  health: ['credential'],
  control: ['credential', 'health'],
  config: ['pki'],
}

/** Modules that decide and do nothing else: no file, no socket, no clock, no chance. */
export const pureModules: readonly RegExp[] = [
  /^(failure|failure-table|(auth|telemetry|package|import|issue)-failures)\.ts$/,
  /^config\/(schema(-auth|-telemetry)?|reload-keys|template|instant|methods|command-source|rules(-auth|-issuer|-methods|-telemetry)?)\.ts$/,
  /^pki\/chain\.ts$/,
  /^credential\/(lifecycle|policy|need|auth-view|sas-text|audit-chain)\.ts$/,
  /^credential\/(recover|due|candidate|setback|outcome|turn|proof|order|memory|credential-ref)\.ts$/,
  /^credential\/(judge-wish|refusals|budget|renewal|own-move|fallback|rescue|return|retirement|retry|as-of-now)\.ts$/,
  /^credential\/machine\.ts$/,
  /^wire\/diagnose\.ts$/,
  /^hub\/(supervise-policy|twin-document)\.ts$/,
  /^twin\//,
  /^methods\//,
  /^telemetry\/(sample|device-message|message|batch|creation|sources\/command-output|forward\/(order|pace|poison))\.ts$/,
  /^telemetry\/intake\/(request|sample-of|said|cut|instant|quota)\.ts$/,
  /^health\/(warnings|warning-table|(auth|telemetry)-findings)\.ts$/,
  /^system\/(backoff|redact|json|inbox|machine-kind)\.ts$/,
  /^takeover\/(unit-text|names|plan)\.ts$/,
  /^time\/(trust|measure-plan|server-chain)\.ts$/,
]

const impureImport =
  /^node:(fs|net|tls|dns|http|https|dgram|child_process|os|timers|worker_threads|process)(\/|$)|system\/(clock|files|log|notify|stop)\.ts$/
const impureWord =
  /\b(Math\.random|process\.|Date\.now|performance\.now)\b|(?<!(?<!globalThis)\.)\b(setTimeout|setInterval|setImmediate|fetch)\(|new Date\(\s*\)/

const timeWord =
  /\b(Date\.now|performance\.now)\b|(?<!(?<!globalThis)\.)\b(setTimeout|setInterval)\(|new Date\(\s*\)|node:timers/

const cloudPackage = /^(azure-|mqtt$|mqtt\/|@azure\/)/
const cloudFolders = ['wire', 'provision', 'hub', 'issue']

/** One import of a module, resolved to its place below agent/ or to the name of a package. */
interface Import {
  readonly target: string
  readonly typeOnly: boolean
}

/** Sentences that say which file breaks which rule; none when the tree is as designed. */
export function findViolations(sources: ReadonlyMap<string, string>): readonly string[] {
  return [...sources].flatMap(([path, source]) => {
    const code = withoutComments(source)
    const imports = importsOf(path, code)
    return [
      ...arrowViolations(path, imports),
      ...imports
        .filter(({ target }) => cloudPackage.test(target) && !cloudFolders.includes(folderOf(path)))
        .map(
          ({ target }) => `${path} imports ${target}: only the adapters in ${cloudFolders.join(', ')} know the cloud`,
        ),
      ...(path !== 'system/clock.ts' && timeWord.test(code)
        ? [`${path} reads the time: only system/clock.ts does`]
        : []),
      ...purityViolations(path, code, imports),
    ]
  })
}

function arrowViolations(path: string, imports: readonly Import[]): readonly string[] {
  const from = folderOf(path)
  const allowed = arrows[from]
  if (allowed === undefined) return [`${path} is in no folder of ARCHITECTURE.md`]
  return imports.flatMap(({ target, typeOnly }) => {
    if (target.startsWith('node:') || !target.endsWith('.ts')) return []
    const to = folderOf(target)
    const types = typeOnly ? (typeArrows[from] ?? []) : []
    if (to === from || allowed.includes('*') || allowed.includes(to) || types.includes(to)) return []
    return [`${path} imports ${target}: there is no arrow from ${from} to ${to}`]
  })
}

function purityViolations(path: string, code: string, imports: readonly Import[]): readonly string[] {
  if (!pureModules.some((pattern) => pattern.test(path))) return []
  const bad = imports.filter(({ target, typeOnly }) => !typeOnly && impureImport.test(target))
  return [
    ...bad.map(({ target }) => `${path} is pure and imports ${target}`),
    ...(impureWord.test(code) ? [`${path} is pure and uses ${impureWord.exec(code)?.[0]}`] : []),
  ]
}

function importsOf(path: string, code: string): readonly Import[] {
  const statement =
    /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|(?:import|require)\(\s*'([^']+)'\s*\)/g
  return [...code.matchAll(statement)].map((match) => ({
    target: resolve(path, match[2] ?? match[3] ?? ''),
    typeOnly: match[1] !== undefined,
  }))
}

function resolve(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier
  return new URL(specifier, `file:///agent/${path}`).pathname.replace(/^\/agent\//, '').replace(/^\//, '../')
}

/** The folder of a file, or the file itself when it is at the top. */
function folderOf(path: string): string {
  return path.split('/')[0] ?? path
}

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\/|(^|\s)\/\/[^\n]*/g, '$1')
}
