#!/bin/sh
# Usage: build.sh DIR -> DIR/accel-qtest-x86_64.so, for Debian 12's qemu-system-x86 (7.2)
# then:  QEMU_MODULE_DIR=DIR qemu-system-x86_64 ... -accel qtest
set -e
here=$(dirname "$0")
mod=/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so
stamp=$(nm -D --defined-only "$mod" | sed -n 's/.* T \(qemu_stamp_[0-9a-f]*\)$/\1/p')
[ -n "$stamp" ] || { echo "$mod has no stamp: is this Debian 12's QEMU?" >&2; exit 1; }
mkdir -p "$1"
# -nostdlib and -ffreestanding: it uses nothing of a C library, so that none need be installed for development
gcc -O2 -fPIC -shared -ffreestanding -nostdlib -DSTAMP="$stamp" -o "$1/accel-qtest-x86_64.so" "$here/qtest_accel.c"
