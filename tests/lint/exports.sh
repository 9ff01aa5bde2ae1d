#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the public headers declare, libmc.map lists, and libmc.so exports are the same set; every exported call has a man page.
cd "$(dirname "$0")/../.." || exit 1
so=${1:-build/lib/libmc.so}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
bad=0

grep -hv '^#' libmc/include/mooncake/*.h | tr '\n' ' ' | grep -oE 'MC_API [^;]*;' | sed -E 's/\(.*//; s/.*[ *]//' | sort -u >"$tmp/declared"
sed -n 's/^\t\(mc_[a-z0-9_]*\);$/\1/p' libmc/libmc.map | sort -u >"$tmp/mapped"
diff "$tmp/declared" "$tmp/mapped" >"$tmp/diff" || { echo 'headers (<) and libmc.map (>) differ:'; cat "$tmp/diff"; bad=1; }
if [ -f "$so" ]; then
	nm -D --defined-only "$so" | sed -n 's/.* T \(mc_[a-z0-9_]*\)@.*/\1/p' | sort -u >"$tmp/exported"
	diff "$tmp/mapped" "$tmp/exported" >"$tmp/diff" || { echo "libmc.map (<) and $so (>) differ:"; cat "$tmp/diff"; bad=1; }
fi
if ls docs/man/*.3 >/dev/null 2>&1; then
	while read -r sym; do
		grep -qrw -- "$sym" docs/man/*.3 || { echo "no man page speaks of $sym()"; bad=1; }
	done <"$tmp/declared"
fi
exit $bad
