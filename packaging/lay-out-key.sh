#!/bin/sh
# Lays the secret that encrypts the agent's private keys where the agent reads it, in memory. It is made once, and kept as a
# credential of systemd, which only this machine can open: by its TPM, by systemd's secret of this machine, or by both.
set -eu
umask 077
name=iot-device-agent.encryption-key
sealed=$STATE_DIRECTORY/encryption-key
open=$RUNTIME_DIRECTORY/encryption-key

# One that is there and cannot be opened is never replaced: what it encrypts would be lost for good.
if [ ! -e "$sealed" ]; then
  secret=$(head -c 32 /dev/urandom | base64)
  [ "${#secret}" -eq 44 ]
  # To no register of the TPM: an update of the firmware must not lock the device out.
  printf '%s\n' "$secret" | systemd-creds encrypt --tpm2-pcrs= --name="$name" - "$sealed.new"
  # Durable before anything is encrypted with it.
  sync "$sealed.new"
  mv "$sealed.new" "$sealed"
  sync "$STATE_DIRECTORY"
fi

systemd-creds decrypt --name="$name" "$sealed" - >"$open.new"
chown iot-device-agent "$open.new"
chmod 0400 "$open.new"
mv "$open.new" "$open"
