#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is installed is all that a program of upstream's C interface needs: built through pkg-config in C and in C++, and with a header
# of its own, each uses every function that the library has.
cd "$(dirname "$0")/../.." || exit 1
[ -z "$SAN" ] || { echo 'ok 1 - every function # SKIP the programs would need the sanitizer too'; echo 1..1; exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
src=$PWD/tests/integration
nr=0 bad=0
t() {
	nr=$((nr + 1))
	name=$1
	shift
	if "$@" >"$tmp/log" 2>&1; then echo "ok $nr - $name"; else echo "not ok $nr - $name"; sed 's/^/# /' "$tmp/log"; bad=1; fi
}
installed() { "${MAKE:-make}" -s install DESTDIR="$tmp/root" PREFIX=/usr BUILD="${BUILD:-build}" KMOD=none; }
flags() {
	PKG_CONFIG_SYSROOT_DIR="$tmp/root" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
		PKG_CONFIG_LIBDIR="$tmp/root/usr/lib/pkgconfig" pkg-config "$@" transfer_engine
}
built() { # built PROGRAM COMPILER...
	program=$tmp/$1
	shift
	# shellcheck disable=SC2046
	"$@" -Wall -Werror -o "$program" $(flags --cflags --libs)
}
with_own_header() {
	# Our header is not even there.
	mkdir "$tmp/src" && cp "$src/capi_every.c" "$src/capi_table.h" "$tmp/src" &&
		${CC:-cc} -Wall -Werror -DOWN_HEADER -o "$tmp/own" "$tmp/src/capi_every.c" $(flags --libs) # shellcheck disable=SC2046
}
uses_every() {
	sed -n 's/^\t\([A-Za-z]*\);$/\1/p' libmc/transfer_engine.map | sort >"$tmp/every"
	nm -u "$tmp/$1" | sed -n 's/^ *U \([A-Za-z]*\)@*.*/\1/p' | sort >"$tmp/used"
	! comm -23 "$tmp/every" "$tmp/used" | grep . && [ "$(wc -l <"$tmp/every")" -ge 27 ]
}
declares_every() {
	! for name in $(cat "$tmp/every"); do grep -q "\b$name(" "$1" || echo "$name"; done | grep .
}
runs() { LD_LIBRARY_PATH="$tmp/root/usr/lib" timeout 60 "$tmp/$1" && LD_LIBRARY_PATH="$tmp/root/usr/lib" ldd "$tmp/$1" | grep -q "$tmp/root/usr/lib/libtransfer_engine.so"; }

t 'install' installed
# shellcheck disable=SC2086
t 'built in C' built c ${CC:-cc} -x c "$src/capi_every.c" -x none
t 'uses every function' uses_every c
t 'runs' runs c
# shellcheck disable=SC2086
t 'built in C++' built cxx ${CXX:-c++} -x c++ "$src/capi_every.c" -x none
t 'uses every function in C++' uses_every cxx
t 'runs in C++' runs cxx
t 'built with a header of its own' with_own_header
t 'uses every function with it' uses_every own
t 'runs with it' runs own
t 'that header has every function' declares_every "$src/capi_table.h"
echo "1..$nr"
exit $bad
