#!/bin/bash -e
# The stage begins with what the one before it has left, as every stage of pi-gen does.
if [ ! -d "$ROOTFS_DIR" ]; then
  copy_previous
fi
