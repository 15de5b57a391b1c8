import type { KeyObject } from 'node:crypto'
import type { asn1 as Asn1, Bytes } from 'node-forge'
import type Asn1Writer from 'node-forge/lib/asn1.js'
import { Failure } from '../failure.ts'
import { keyKind } from './key.ts'
import type { Signer } from './signer.ts'

/** A certificate request in both forms that issuers take. */
export interface Csr {
  readonly pem: string
  /** The DER in base64 on one line, as DPS takes it. */
  readonly derBase64: string
}

/** Upper bound of a common name. Source: RFC 5280, appendix A.1, ub-common-name. */
export const MAX_COMMON_NAME = 64

/** Object identifiers. Source: RFC 2985 5.4.2, RFC 5280 4.2.1.3 and 4.2.1.12, RFC 5758 3.2, RFC 4055 5. */
const oids = {
  commonName: '2.5.4.3',
  extensionRequest: '1.2.840.113549.1.9.14',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  clientAuth: '1.3.6.1.5.5.7.3.2',
}

interface SignatureAlgorithm {
  readonly oid: string
  readonly digest: string
  /** RSA algorithm identifiers carry NULL as parameter, ECDSA ones nothing at all. */
  readonly nullParameter: boolean
}

const ecdsaSha256 = { oid: '1.2.840.10045.4.3.2', digest: 'sha256', nullParameter: false }
const ecdsaSha384 = { oid: '1.2.840.10045.4.3.3', digest: 'sha384', nullParameter: false }
const rsaSha256 = { oid: '1.2.840.113549.1.1.11', digest: 'sha256', nullParameter: true }

/**
 * Makes a PKCS#10 request (RFC 2986) for a client certificate with CN = registration ID, signed by `signer`.
 * The ASN.1 writer is loaded here, at the first request, because most starts of the agent need none.
 *
 * @throws Failure CONFIG_INVALID        the registration ID does not fit into a common name
 * @throws Failure KEY_STORE_UNAVAILABLE the token did not sign
 */
export async function makeCsr(signer: Signer, registrationId: string): Promise<Csr> {
  if (registrationId === '' || registrationId.length > MAX_COMMON_NAME) {
    const fact = `device.registrationId must have 1 to ${MAX_COMMON_NAME} characters to be the CN of a certificate`
    throw new Failure('CONFIG_INVALID', fact, { context: { registrationId } })
  }
  const { default: asn1 } = await import('node-forge/lib/asn1.js')
  const write = writer(asn1)
  const algorithm = signatureAlgorithm(signer.publicKey)
  const information = requestInformation(write, signer.publicKey, registrationId)
  const signature = await signer.sign(algorithm.digest, write.der(information))
  const parameters = algorithm.nullParameter ? [write.none()] : []
  const identifier = write.sequence([write.oid(algorithm.oid), ...parameters])
  const der = write.der(write.sequence([information, identifier, write.bits(signature)]))
  const derBase64 = der.toString('base64')
  return { derBase64, pem: armour(derBase64) }
}

function requestInformation(write: Writer, publicKey: KeyObject, registrationId: string): Asn1.Asn1 {
  const name = write.sequence([write.oid(oids.commonName), write.text(registrationId)])
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const attribute = write.sequence([write.oid(oids.extensionRequest), write.set([extensions(write)])])
  const subject = write.sequence([write.set([name])])
  return write.sequence([write.integer(0), subject, write.read(spki), write.attributes([attribute])])
}

/** What a TLS client needs and no more: digitalSignature (bit 0 of eight, seven unused) and clientAuth. */
function extensions(write: Writer): Asn1.Asn1 {
  const digitalSignature = write.unusedBits(7, Buffer.of(0x80))
  const clientAuth = write.sequence([write.oid(oids.clientAuth)])
  return write.sequence([
    write.sequence([write.oid(oids.keyUsage), write.yes(), write.octets(write.der(digitalSignature))]),
    write.sequence([write.oid(oids.extendedKeyUsage), write.octets(write.der(clientAuth))]),
  ])
}

function signatureAlgorithm(key: KeyObject): SignatureAlgorithm {
  if (key.asymmetricKeyType === 'rsa') return rsaSha256
  const kind = keyKind(key)
  if (kind === 'ec-p256') return ecdsaSha256
  if (kind === 'ec-p384') return ecdsaSha384
  throw new Failure('KEY_TYPE_UNSUPPORTED', `no certificate request can be signed with a key of kind ${kind}`)
}

function armour(base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}

type Writer = ReturnType<typeof writer>

/** The handful of ASN.1 shapes that a request is made of; binary strings stay inside. */
function writer(asn1: typeof Asn1Writer) {
  const { Class, Type } = asn1
  const primitive = (type: Asn1.Type, content: Bytes) => asn1.create(Class.UNIVERSAL, type, false, content)
  const constructed = (type: Asn1.Type, parts: Asn1.Asn1[]) => asn1.create(Class.UNIVERSAL, type, true, parts)
  return {
    sequence: (parts: Asn1.Asn1[]) => constructed(Type.SEQUENCE, parts),
    set: (parts: Asn1.Asn1[]) => constructed(Type.SET, parts),
    /** `[0] IMPLICIT`: tag number 0, which forge calls NONE. */
    attributes: (parts: Asn1.Asn1[]) => asn1.create(Class.CONTEXT_SPECIFIC, Type.NONE, true, parts),
    oid: (dotted: string) => primitive(Type.OID, asn1.oidToDer(dotted).getBytes()),
    integer: (value: number) => primitive(Type.INTEGER, asn1.integerToDer(value).getBytes()),
    text: (value: string) => primitive(Type.UTF8, binary(Buffer.from(value, 'utf8'))),
    octets: (value: Buffer) => primitive(Type.OCTETSTRING, binary(value)),
    bits: (value: Buffer) => primitive(Type.BITSTRING, `\0${binary(value)}`),
    unusedBits: (unused: number, value: Buffer) => primitive(Type.BITSTRING, binary(Buffer.of(unused, ...value))),
    yes: () => primitive(Type.BOOLEAN, '\xff'),
    none: () => primitive(Type.NULL, ''),
    read: (der: Buffer) => asn1.fromDer(binary(der), { strict: true, decodeBitStrings: false }),
    der: (value: Asn1.Asn1) => Buffer.from(asn1.toDer(value).getBytes(), 'latin1'),
  }
}

/** Bytes as node-forge holds them: one character a byte. */
function binary(bytes: Buffer): Bytes {
  return bytes.toString('latin1')
}
