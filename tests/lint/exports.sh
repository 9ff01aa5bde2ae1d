#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What public headers declare, the library's map lists, and the library exports are the same set; every exported call has a man page.
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
bad=0

check() { # check LIBRARY MAP MARK HEADER…
	so=$1 map=$2 mark=$3
	shift 3
	grep -hv '^#' "$@" | tr '\n' ' ' | grep -oE "$mark [^;]*;" | sed -E 's/\(.*//; s/.*[ *]//' | sort -u >"$tmp/declared"
	sed -n 's/^\t\([A-Za-z][A-Za-z0-9_]*\);$/\1/p' "$map" | sort -u >"$tmp/mapped"
	diff "$tmp/declared" "$tmp/mapped" >"$tmp/diff" || { echo "headers (<) and $map (>) differ:"; cat "$tmp/diff"; bad=1; }
	if [ -f "$so" ]; then
		nm -D --defined-only "$so" | sed -n 's/.* T \([A-Za-z0-9_]*\)@.*/\1/p' | sort -u >"$tmp/exported"
		diff "$tmp/mapped" "$tmp/exported" >"$tmp/diff" || { echo "$map (<) and $so (>) differ:"; cat "$tmp/diff"; bad=1; }
	fi
	while read -r sym; do
		grep -qrw -- "$sym" docs/man/*.3 || { echo "no man page speaks of $sym()"; bad=1; }
	done <"$tmp/declared"
}
check build/lib/libmc.so libmc/libmc.map MC_API libmc/include/mooncake/*.h
check build/lib/libtransfer_engine.so libmc/transfer_engine.map TE_API libmc/include/transfer_engine_c.h
exit $bad
