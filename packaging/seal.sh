#!/bin/sh
# Takes what makes a system one certain device out of it, or says what of that is there; docs/images.md tells when.
# Plain POSIX tools, so that it works in every image and without a runtime.
set -eu
LC_ALL=C
export LC_ALL

usage() {
  cat <<'END'
Usage: iot-device-agent seal [--root DIR] [--yes]
       iot-device-agent seal --check [--root DIR]

Takes the identity of this device out of the system below DIR (/): keys, certificates, secrets and samples of the
agent, the machine-id, the random seed and the key of systemd's credentials. A running system is asked for with --yes.

  --check      change nothing; print each finding on a line of its own
  --root DIR   the system that is meant; no symbolic link leads out of it
  --yes        seal the very system that runs this
  --help       this text

Exit codes: 0 nothing of one device is in it; 1 something is; 2 the command line is not understood.
END
}

wrong() {
  printf 'seal: %s\n' "$1" >&2
  exit 2
}

remark() { printf 'remark: %s\n' "$1" >&2; }

STATE=var/lib/iot-device-agent
# What was moved aside when the agent took over from an older client.
TAKEOVER=var/lib/iot-device-agent.import
CONFIG=etc/iot-device-agent
SECRETS=$CONFIG/secrets
RUNTIME=run/iot-device-agent
# The secret that encrypts private keys, which only this machine can open.
KEY_STATE=var/lib/iot-device-agent-key
HOST_SECRETS='var/lib/systemd/random-seed var/lib/systemd/credential.secret'
STORES='etc/credstore etc/credstore.encrypted'
# Where a key is looked for: each file of at most 64 KiB, eight folders deep, on the same file system.
KEY_PLACES="$CONFIG etc/iot-certs opt/iot-agent root home"
# Where a connection string is looked for, in the same bounds.
TEXT_PLACES="$CONFIG etc/iot-certs opt/iot-agent"
PRIVATE_KEY='-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----'

# Where the device sees PATH, as a path of this system: links are followed as they would be with DIR as the root.
inside() {
  left=$1
  past=
  hops=0
  while [ -n "$left" ]; do
    part=${left%%/*}
    case $left in
      */*) left=${left#*/} ;;
      *) left= ;;
    esac
    case $part in
      '' | .) continue ;;
      ..) past=${past%/*} ;;
      *)
        if [ -L "$root$past/$part" ]; then
          hops=$((hops + 1))
          # A circle, which leads nowhere on the device either.
          if [ "$hops" -gt 40 ]; then break; fi
          target=$(readlink "$root$past/$part")
          case $target in /*) past= ;; esac
          left=$target/$left
        else
          past=$past/$part
        fi
        ;;
    esac
  done
  printf '%s\n' "$root$past"
}

# One finding: its kind, and the path as the device sees it.
tell() { printf '%s %s\n' "$1" "$(printf %s "${2#"$root"}" | tr '\n' '?')"; }

# Whether FILE has PATTERN. What cannot be read is no proof of anything, so it is a finding.
holds() {
  if grep -q -e "$1" "$2"; then return 0; else status=$?; fi
  [ "$status" -eq 1 ] || tell UNREADABLE "$2"
  return 1
}

tell_state() {
  for file; do
    case ${file##*/} in
      outbox.db*) tell SAMPLES "$file" ;;
      assignment*.json) tell ASSIGNMENT "$file" ;;
      *) tell "$(kind_of "$file")" "$file" ;;
    esac
  done
}

kind_of() {
  if [ ! -f "$1" ] || [ -L "$1" ]; then
    echo STATE
  elif grep -q -e "$PRIVATE_KEY" "$1"; then
    echo KEY
  elif grep -q -e '-----BEGIN CERTIFICATE-----' "$1"; then
    echo CERTIFICATE
  elif grep -q -e '-----BEGIN [A-Z ]*CERTIFICATE REQUEST-----' "$1"; then
    echo REQUEST
  else
    echo STATE
  fi
}

tell_keys() {
  for file; do
    case $file in
      *.p12 | *.pfx) tell KEY "$file" ;;
      *) if holds "$PRIVATE_KEY" "$file"; then tell KEY "$file"; fi ;;
    esac
  done
}

# A connection string with something in the place of the key that could be one.
tell_connection_strings() {
  for file; do
    awk '/SharedAccessKey=[A-Za-z0-9+\/][A-Za-z0-9+\/][A-Za-z0-9+\/][A-Za-z0-9+\/]/ { print FNR }' <"$file" |
      while read -r line; do tell SECRET "$file:$line"; done
  done
}

tell_secrets() { for file; do tell SECRET "$file"; done; }

# Hands every match of `find PLACE WHAT…` to the function of this script called $1. No link is followed.
each() {
  call=$1
  place=$(inside "$2")
  shift 2
  [ -e "$place" ] || return 0
  find "$place" "$@" -exec sh "$self" "@$call" "$root" {} + || tell UNREADABLE "$place"
}

# Files with the settings of the service, one a line: units, drop-ins, and the environment that they name.
unit_files() {
  for folder in etc run usr/local/lib usr/lib lib; do
    for file in "$root/$folder/systemd/system"/iot-device-agent.service \
      "$(inside "$folder/systemd/system/iot-device-agent.service.d")"/*.conf; do
      file=$(inside "${file#"$root"}")
      if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
  done | awk '!seen[$0]++'
}

environment_files() {
  printf '%s\n' /etc/default/iot-device-agent
  unit_files | while IFS= read -r file; do
    sed -n 's/^[[:space:]]*EnvironmentFile=-\{0,1\}["'\'']\{0,1\}\(\/[^"'\'']*\).*/\1/p' "$file"
  done
}

environment_paths() {
  environment_files | while IFS= read -r named; do
    file=$(inside "$named")
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}

config_files() {
  for file in "$root/$CONFIG/config.toml" "$(inside "$CONFIG/config.d")"/*.toml; do
    file=$(inside "${file#"$root"}")
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}

# A name that stands there for good, so that every copy would have it. A template has a { and is filled in on the device.
tell_names() {
  config_files | while IFS= read -r file; do
    awk '!/^[ \t]*#/ && match($0, /registrationId["'\'']?[ \t]*=/) {
      value = substr($0, RSTART + RLENGTH); sub(/#.*/, "", value); if (value !~ /\{/) print FNR
    }' "$file" | while read -r line; do tell DEVICE-ID "$file:$line"; done
  done
  # %H, %m and their like are filled in by systemd.
  unit_files | tell_assigned DEVICE_ID DEVICE-ID '[{%]'
  environment_paths | tell_assigned DEVICE_ID DEVICE-ID '[{]'
}

# For each file on stdin: the lines that give the variable $1 a value which does not match $3, as findings of kind $2.
tell_assigned() {
  while IFS= read -r file; do
    awk -v name="$1" -v fine="$3" '!/^[ \t]*[#;]/ && match($0, "(^|[ \t\"'\''=])" name "=[^ \t\"'\'']") {
      value = substr($0, RSTART); if (value !~ fine) print FNR
    }' "$file" | while read -r line; do tell "$2" "$file:$line"; done
  done
}

# Kind and path of what the configuration keeps elsewhere: its owner put it there, so it is told and never removed.
named_paths() {
  config_files | while IFS= read -r file; do
    sed -n '/^[[:space:]]*#/d
      s/.*stateDir["'\'']\{0,1\}[[:space:]]*=[[:space:]]*["'\'']\(\/[^"'\'']*\).*/STATE \1/p
      s/.*certificateFile["'\'']\{0,1\}[[:space:]]*=[[:space:]]*["'\'']\(\/[^"'\'']*\).*/CERTIFICATE \1/p
      s/.*keyFile["'\'']\{0,1\}[[:space:]]*=[[:space:]]*["'\'']\(\/[^"'\'']*\).*/KEY \1/p
      s/.*encryptionKeyFile["'\'']\{0,1\}[[:space:]]*=[[:space:]]*["'\'']\(\/[^"'\'']*\).*/SECRET \1/p
      s/.*connectionStringFile["'\'']\{0,1\}[[:space:]]*=[[:space:]]*["'\'']\(\/[^"'\'']*\).*/SECRET \1/p' "$file"
  done
  { unit_files && environment_paths; } | while IFS= read -r file; do
    sed -n '/^[[:space:]]*[#;]/d
      s/.*IOT_AGENT_STATE_DIR=\(\/[^[:space:]"'\'']*\).*/STATE \1/p
      s/.*CERT_PATH=\(\/[^[:space:]"'\'']*\).*/CERTIFICATE \1/p
      s/.*KEY_PATH=\(\/[^[:space:]"'\'']*\).*/KEY \1/p
      s/.*IOT_AGENT_SAS_KEY_FILE=\(\/[^[:space:]"'\'']*\).*/SECRET \1/p
      s/.*IOT_AGENT_SAS_CONNECTION_STRING_FILE=\(\/[^[:space:]"'\'']*\).*/SECRET \1/p
      s/^[[:space:]]*LoadCredential[A-Za-z]*=[^:]*:\(\/.*\)/SECRET \1/p' "$file"
  done
}

tell_named() {
  named_paths | while read -r kind named; do
    file=$(inside "$named")
    case $kind in
      STATE) if [ "$file" != "$(inside "$STATE")" ]; then each state "$named" ! -type d; fi ;;
      *) if [ -f "$file" ] && [ -s "$file" ]; then tell "$kind" "$file"; fi ;;
    esac
  done
}

# Names of the credentials that the unit asks systemd for, and so the files of ours in the credential stores.
credential_files() {
  {
    echo 'iot-device-agent*'
    unit_files | while IFS= read -r file; do
      sed -n 's/^[[:space:]]*\(Load\|Import\)Credential[A-Za-z]*=\([^:[:space:]]*\).*/\2/p' "$file"
    done
  } | while IFS= read -r name; do
    for store in $STORES; do
      folder=$(inside "$store")
      # The name may be a pattern, in the unit as here.
      # shellcheck disable=SC2086
      for file in "$folder"/$name; do
        if [ -n "$name" ] && [ -f "$file" ]; then printf '%s\n' "$file"; fi
      done
    done
  done | awk '!seen[$0]++'
}

# A pair of the Python client: the certificate beside a key of the same name.
tell_pairs() {
  for file in "$(inside etc/iot-certs)"/*.pem; do
    if [ -f "$file" ] && [ -f "${file%.pem}.key" ]; then tell CERTIFICATE "$file"; fi
  done
}

tell_machine() {
  file=$(inside etc/machine-id)
  if [ -s "$file" ] && [ "$(cat "$file")" != uninitialized ]; then tell MACHINE-ID "$file"; fi
  file=$root/var/lib/dbus/machine-id
  if [ ! -L "$file" ] && [ -s "$file" ]; then tell MACHINE-ID "$file"; fi
  for file in $HOST_SECRETS; do
    file=$(inside "$file")
    if [ -s "$file" ]; then
      case $file in
        *random-seed) tell RANDOM-SEED "$file" ;;
        *) tell SECRET "$file" ;;
      esac
    fi
  done
}

findings() {
  # What cannot be read is no proof of anything.
  { config_files && unit_files && environment_paths; } | while IFS= read -r file; do
    [ -r "$file" ] || tell UNREADABLE "$file"
  done
  for store in $STORES; do
    store=$(inside "$store")
    if [ -e "$store" ] && [ ! -r "$store" ]; then tell UNREADABLE "$store"; fi
  done
  each state "$STATE" ! -type d
  each state "$TAKEOVER" ! -type d
  each state "$KEY_STATE" ! -type d
  each state "$RUNTIME" ! -type d
  each secrets "$SECRETS" ! -type d
  credential_files | while IFS= read -r file; do tell SECRET "$file"; done
  unit_files | while IFS= read -r file; do
    awk '/^[ \t]*SetCredential(Encrypted)?=/ { print FNR }' "$file" |
      while read -r line; do tell SECRET "$file:$line"; done
    tell_connection_strings "$file"
  done
  environment_paths | while IFS= read -r file; do tell_connection_strings "$file"; done
  for place in $TEXT_PLACES; do each connection_strings "$place" -xdev -maxdepth 8 -type f -size -129; done
  for place in $KEY_PLACES; do each keys "$place" -xdev -maxdepth 8 -type f -size -129; done
  tell_pairs
  tell_named
  tell_machine
  tell_names
}

remarks() {
  for file in "$(inside etc/ssh)"/ssh_host_*_key; do
    if [ -e "$file" ]; then
      remark "${file#"$root"}: a host key of SSH, the same in every copy; it is not the agent's to remove"
    fi
  done
}

# Everything below a folder; the folder stays, because it may be a mount point or the target of a link. The overwriting
# is in vain on flash that spreads its writes, and on file systems that never write in place.
empty() {
  place=$(inside "$1")
  [ -d "$place" ] || return 0
  if command -v shred >/dev/null; then
    find "$place" -type f -size -2049 -exec shred -n 1 -z {} +
  fi
  find "$place" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
}

destroy() {
  if [ -f "$1" ] && [ ! -L "$1" ] && command -v shred >/dev/null; then shred -n 1 -z "$1"; fi
  rm -f "$1"
}

strip() {
  empty "$STATE"
  empty "$TAKEOVER"
  empty "$KEY_STATE"
  empty "$SECRETS"
  empty "$RUNTIME"
  credential_files | while IFS= read -r file; do destroy "$file"; done
  for file in $HOST_SECRETS; do destroy "$(inside "$file")"; done
  if [ ! -L "$root/var/lib/dbus/machine-id" ]; then rm -f "$root/var/lib/dbus/machine-id"; fi
  forget_machine
}

# Empty: unlike with a file that is absent or says "uninitialized", the next boot is then no "first boot", which would
# set every unit back to its preset (against what the builder of the image disabled) and might ask questions at the
# console; and a file that is there can be mounted over where /etc is read-only. Source: machine-id(5), first boot
# semantics. Whoever wrote "uninitialized" wants all that, and keeps it.
forget_machine() {
  id=$(inside etc/machine-id)
  if [ ! -d "${id%/*}" ] || [ "$(cat "$id" 2>/dev/null)" = uninitialized ]; then return 0; fi
  if [ -e "$id" ]; then chmod u+w "$id"; fi
  : >"$id"
  chmod 444 "$id"
}

# The running system: never while the agent could make its keys anew, never by mistake.
ask_first() {
  if [ -d /run/systemd/system ]; then
    case $(systemctl show --property=ActiveState --value iot-device-agent.service) in
      inactive | failed) ;;
      *)
        printf '%s\n' "seal: the agent is running. First: systemctl stop 'iot-device-agent*'" >&2
        exit 1
        ;;
    esac
  fi
  [ "$yes" = no ] || return 0
  found=$(findings)
  [ -n "$found" ] || exit 0
  printf '%s\n' "$found" | sort -u
  printf '%s\n' 'seal: nothing was changed. This is the system that runs here, and it would lose these: seal --yes' >&2
  exit 1
}

self=$0
root=
case ${1-} in
  @*)
    call=$1
    root=$2
    shift 2
    case $call in
      @state) tell_state "$@" ;;
      @keys) tell_keys "$@" ;;
      @connection_strings) tell_connection_strings "$@" ;;
      @secrets) tell_secrets "$@" ;;
    esac
    exit 0
    ;;
esac

for tool in awk find grep readlink sed sort tr; do
  command -v "$tool" >/dev/null || wrong "this system has no $tool"
done
check=no
yes=no
folder=/
while [ $# -gt 0 ]; do
  case $1 in
    --check) check=yes ;;
    --yes) yes=yes ;;
    --root=*) folder=${1#--root=} ;;
    --root)
      [ $# -gt 1 ] || wrong '--root needs a folder'
      shift
      folder=$1
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) wrong "what is $1? (seal --help)" ;;
  esac
  shift
done
[ -d "$folder" ] || wrong "$folder is no folder"
root=$(CDPATH='' cd -P -- "$folder" && pwd -P)
[ "$root" != / ] || root=
[ -d "$(inside etc)" ] || wrong "$folder is no system: it has no etc"

if [ "$check" = no ]; then
  if [ -z "$root" ]; then ask_first; fi
  strip
fi
found=$(findings)
remarks
[ -n "$found" ] || exit 0
printf '%s\n' "$found" | sort -u
exit 1
