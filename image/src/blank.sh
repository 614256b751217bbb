#!/bin/sh
# Whether nothing was ever written to a disk: `blank.sh DISK SECTORS` ends with 0 when its first and its last MiB are
# zeros, with 1 when they are not, and with 2 when they cannot be read whole. File systems, volumes and tables of
# partitions all leave something there. Whatever goes wrong is never 0.

part=${TMPDIR:-/run}/blank.$$
trap 'rm -f "$part"' EXIT

[ "$2" -ge 2048 ] 2>/dev/null || exit 2
for first in 0 $(($2 - 2048)); do
  dd if="$1" of="$part" bs=512 skip="$first" count=2048 2>/dev/null || exit 2
  [ "$(wc -c <"$part")" -eq 1048576 ] || exit 2
  head -c 1048576 /dev/zero | cmp -s - "$part" || exit 1
done
exit 0
