#!/bin/bash -e
# Installs the packages in files/ without running anything of the image, so without the emulation of pi-gen, and ends
# the build when the identity of one device is in it. pi-gen runs this in its own folder, with ROOTFS_DIR set.
shopt -s nullglob
packages=(files/*.deb)
if [ "${#packages[@]}" -eq 0 ]; then
  echo "stage-iot-device-agent: no package in $PWD/files" >&2
  exit 1
fi
files/install "$ROOTFS_DIR" "${packages[@]}"
if [ -f files/config.toml ]; then
  install -d -m 0755 "$ROOTFS_DIR/etc/iot-device-agent"
  install -m 0644 files/config.toml "$ROOTFS_DIR/etc/iot-device-agent/config.toml"
fi
files/finish "$ROOTFS_DIR"
