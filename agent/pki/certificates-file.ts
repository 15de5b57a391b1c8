import { X509Certificate } from 'node:crypto'
import type { FailureCode } from '../failure.ts'
import { certificateFacts } from './certificate.ts'
import { readExtensions } from './extensions.ts'

/** One reason to refuse a chain, with its code of the failure table. */
export interface ChainProblem {
  readonly code: FailureCode
  readonly message: string
}

export type ReadCertificates =
  | { readonly ok: true; readonly value: readonly X509Certificate[] }
  | { readonly ok: false; readonly problems: readonly ChainProblem[] }

/** Most that a file with a device chain may hold: an ECC leaf is 1 KB, and `openssl x509 -text` adds 4 KB to each. */
export const MAX_CHAIN_BYTES = 64 * 1024
export const MAX_CHAIN_CERTIFICATES = 8

const BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g
const BEGIN = /-----BEGIN ([A-Z0-9 ]+)-----/g

/** Whether the text holds a private key of any form. */
export function holdsPrivateKey(text: string): boolean {
  return /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)
}

/** Whether every PEM block that begins in the text also ends: a file that is still being copied usually fails this. */
export function looksComplete(text: string): boolean {
  const begins = text.match(/-----BEGIN [A-Z0-9 ]+-----/g)?.length ?? 0
  const ends = text.match(/-----END [A-Z0-9 ]+-----/g)?.length ?? 0
  return begins > 0 && begins === ends
}

/**
 * The certificates of a PEM text in its order, each once. Text around the blocks, byte order marks and any kind of
 * line end are allowed, since `openssl x509 -text` and editors make them. Nothing is trusted by this.
 */
export function readCertificates(text: string): ReadCertificates {
  if (Buffer.byteLength(text) > MAX_CHAIN_BYTES) {
    return refuse('CHAIN_TOO_LARGE', `more than ${MAX_CHAIN_BYTES} bytes`)
  }
  const blocks = [...text.matchAll(BLOCK)].map((match) => match[1] ?? '')
  const labels = [...text.matchAll(BEGIN)].map((match) => match[1] ?? '')
  if (blocks.length > MAX_CHAIN_CERTIFICATES) {
    return refuse('CHAIN_TOO_LARGE', `${blocks.length} certificates, at most ${MAX_CHAIN_CERTIFICATES} make sense`)
  }
  if (blocks.length === 0) {
    const others = labels.length === 0 ? 'nothing in PEM' : labels.map((label) => `"${label}"`).join(', ')
    return refuse('CHAIN_UNREADABLE', `no certificate is in it, but ${others}`)
  }
  if (labels.filter((label) => label === 'CERTIFICATE').length > blocks.length) {
    return refuse('CHAIN_UNREADABLE', 'a certificate begins but does not end, or is not base64')
  }
  return parseBlocks(blocks)
}

function parseBlocks(blocks: readonly string[]): ReadCertificates {
  const certificates: X509Certificate[] = []
  const problems: ChainProblem[] = []
  for (const [index, block] of blocks.entries()) {
    const certificate = parseBlock(block)
    if (certificate === undefined) {
      problems.push({ code: 'CHAIN_UNREADABLE', message: `certificate ${index + 1} cannot be decoded` })
    } else if (!certificates.some((known) => known.raw.equals(certificate.raw))) {
      certificates.push(certificate)
    }
  }
  return problems.length === 0 ? { ok: true, value: certificates } : { ok: false, problems }
}

/** Undefined for whatever is not exactly one certificate; its dates, key and extensions show only on asking. */
function parseBlock(block: string): X509Certificate | undefined {
  try {
    const der = Buffer.from(block, 'base64')
    const certificate = new X509Certificate(der)
    certificateFacts(certificate)
    readExtensions(certificate)
    return certificate.raw.equals(der) ? certificate : undefined
  } catch {
    return undefined
  }
}

function refuse(code: FailureCode, message: string): ReadCertificates {
  return { ok: false, problems: [{ code, message }] }
}
