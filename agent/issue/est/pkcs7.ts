import type { asn1 as Asn1 } from 'node-forge'
import { Failure } from '../../failure.ts'

/** id-signedData. Source: RFC 5652, section 5.1. */
const SIGNED_DATA = '1.2.840.113549.1.7.2'

const MAX_CERTIFICATES = 16

/**
 * The certificates of a certs-only PKCS#7 in PEM, in the order in which they stand there. What comes over EST is base64,
 * with line breaks or without, whatever its header says (RFC 7030, 4.1.3; RFC 8951, 2). Nothing is verified here.
 * The ASN.1 reader is loaded at the first use: most devices never need it.
 *
 * @throws Failure ISSUER_ANSWER_INVALID
 */
export async function certificatesOf(body: string): Promise<readonly string[]> {
  const text = body.replaceAll(/-----[^-\n]*-----|\s/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw invalid('it is not base64')
  const { default: asn1 } = await import('node-forge/lib/asn1.js')
  const { default: pkcs7 } = await import('node-forge/lib/pkcs7asn1.js')
  // The published types leave `validate` out.
  const { validate } = asn1 as unknown as { readonly validate: Validate }
  const read = (): readonly string[] => {
    const whole: Captured = {}
    const parsed = asn1.fromDer(Buffer.from(text, 'base64').toString('latin1'), {
      strict: true,
      decodeBitStrings: false,
    })
    if (!validate(parsed, pkcs7.contentInfoValidator, whole, [])) throw invalid('it is no PKCS#7')
    if (asn1.derToOid(String(whole['contentType'])) !== SIGNED_DATA) throw invalid('it is no SignedData')
    const inner: Captured = {}
    const [content] = valuesOf(whole['content'])
    if (content === undefined || !validate(content, pkcs7.signedDataValidator, inner, []))
      throw invalid('it is no SignedData')
    const certificates = valuesOf(inner['certificates'])
    if (certificates.length === 0) throw invalid('it holds no certificate')
    if (certificates.length > MAX_CERTIFICATES) throw invalid(`it holds ${certificates.length} certificates`)
    return certificates.map((each) => pemOf(Buffer.from(asn1.toDer(each).getBytes(), 'latin1')))
  }
  try {
    return read()
  } catch (cause) {
    // The reader throws errors of its own, and deep nesting exhausts the stack.
    throw cause instanceof Failure
      ? cause
      : invalid(cause instanceof Error ? cause.message.slice(0, 120) : 'unreadable')
  }
}

type Captured = Record<string, unknown>
type Validate = (value: Asn1.Asn1, validator: object, captured: Captured, errors: string[]) => boolean

/** What is inside of something that was captured; nothing when it was not. */
function valuesOf(captured: unknown): readonly Asn1.Asn1[] {
  return ((captured as Asn1.Asn1 | undefined)?.value ?? []) as readonly Asn1.Asn1[]
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function invalid(why: string): Failure {
  return new Failure('ISSUER_ANSWER_INVALID', `the EST server did not send certificates: ${why}`)
}
