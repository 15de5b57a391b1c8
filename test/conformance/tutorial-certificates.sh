#!/usr/bin/env bash
# The openssl commands of steps 1 and 3 of the migration tutorial, with its options unchanged.
# Two things differ: the passphrase that the tutorial types comes from the variable CA_PASSPHRASE, and both steps share
# CERT_DIR, given as the first argument. Device IDs follow it.
set -euo pipefail
CERT_DIR=$1
shift
export CA_PASSPHRASE

# Step 1: Generate root CA certificate
mkdir -p "$CERT_DIR"/{root,intermediate,devices}

openssl genrsa -aes256 -passout env:CA_PASSPHRASE -out "$CERT_DIR/root/root-ca.key" 4096

openssl req -new -x509 -days 7300 \
  -key "$CERT_DIR/root/root-ca.key" -passin env:CA_PASSPHRASE \
  -out "$CERT_DIR/root/root-ca.pem" \
  -subj "/CN=CSA IoT Root CA/O=CSA-in-a-Box/OU=IoT Security/C=US/ST=Virginia" \
  -extensions v3_ca \
  -config <(cat <<CONFIG
[req]
distinguished_name = req_distinguished_name
[req_distinguished_name]
[v3_ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always
CONFIG
)

openssl genrsa -aes256 -passout env:CA_PASSPHRASE -out "$CERT_DIR/intermediate/intermediate-ca.key" 4096

openssl req -new \
  -key "$CERT_DIR/intermediate/intermediate-ca.key" -passin env:CA_PASSPHRASE \
  -out "$CERT_DIR/intermediate/intermediate-ca.csr" \
  -subj "/CN=CSA IoT Intermediate CA 01/O=CSA-in-a-Box/OU=IoT Security/C=US/ST=Virginia"

openssl x509 -req -days 1825 \
  -in "$CERT_DIR/intermediate/intermediate-ca.csr" \
  -CA "$CERT_DIR/root/root-ca.pem" \
  -CAkey "$CERT_DIR/root/root-ca.key" -passin env:CA_PASSPHRASE \
  -CAcreateserial \
  -out "$CERT_DIR/intermediate/intermediate-ca.pem" \
  -extensions v3_intermediate_ca \
  -extfile <(cat <<CONFIG
[v3_intermediate_ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always
CONFIG
)

cat "$CERT_DIR/intermediate/intermediate-ca.pem" \
  "$CERT_DIR/root/root-ca.pem" \
  >"$CERT_DIR/intermediate/chain.pem"

openssl verify -CAfile "$CERT_DIR/root/root-ca.pem" \
  "$CERT_DIR/intermediate/intermediate-ca.pem"

# Step 3: Generate device leaf certificates
INTERMEDIATE_CA=$CERT_DIR/intermediate/intermediate-ca.pem
INTERMEDIATE_KEY=$CERT_DIR/intermediate/intermediate-ca.key
CERT_DIR=$CERT_DIR/devices

for DEVICE_ID in "$@"; do
  openssl genrsa -out "$CERT_DIR/$DEVICE_ID.key" 2048

  openssl req -new \
    -key "$CERT_DIR/$DEVICE_ID.key" \
    -out "$CERT_DIR/$DEVICE_ID.csr" \
    -subj "/CN=$DEVICE_ID/O=CSA-in-a-Box/OU=IoT Devices/C=US"

  openssl x509 -req -days 90 \
    -in "$CERT_DIR/$DEVICE_ID.csr" \
    -CA "$INTERMEDIATE_CA" \
    -CAkey "$INTERMEDIATE_KEY" -passin env:CA_PASSPHRASE \
    -CAcreateserial \
    -out "$CERT_DIR/$DEVICE_ID.pem" \
    -extensions v3_device \
    -extfile <(cat <<CONFIG
[v3_device]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always
CONFIG
)

  cat "$CERT_DIR/$DEVICE_ID.pem" "$INTERMEDIATE_CA" >"$CERT_DIR/$DEVICE_ID-fullchain.pem"
  rm -f "$CERT_DIR/$DEVICE_ID.csr"
done
