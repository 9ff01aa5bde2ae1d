#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program that was linked with another library of upstream's interface, without versions of symbols, runs with ours.
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
[ -z "$SAN" ] || { echo 'ok 1 - drop-in # SKIP the stand-in has no sanitizer'; echo 1..1; exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

sed -n 's/^\t\([A-Za-z]*\);$/void \1(void); void \1(void) { }/p' libmc/transfer_engine.map >"$tmp/other.c"
{
	${CC:-cc} -shared -fPIC -Wl,-soname,libtransfer_engine.so -o "$tmp/libtransfer_engine.so" "$tmp/other.c" &&
		${CC:-cc} -pthread -Itests -Ilibmc/include -o "$tmp/program" tests/integration/capi_calls.c -L "$tmp" -ltransfer_engine &&
		! LD_LIBRARY_PATH="$tmp" "$tmp/program" both_ways >"$tmp/other.log" 2>&1 &&
		LD_LIBRARY_PATH="$build/lib" "$tmp/program"
} >"$tmp/log" 2>&1
rc=$?
sed 's/^/# /' "$tmp/log"
[ $rc -eq 0 ] || printf 'not '
echo 'ok 1 - a program linked with another libtransfer_engine.so runs with ours'
echo 1..1
exit $rc
