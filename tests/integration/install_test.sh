#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make install` leaves what its units, links and headers promise, and `make uninstall` takes all of it away.
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
nr=0 bad=0
t() {
	nr=$((nr + 1))
	name=$1
	shift
	if "$@" >"$tmp/log" 2>&1; then echo "ok $nr - $name"; else echo "not ok $nr - $name"; sed 's/^/# /' "$tmp/log"; bad=1; fi
}
installed() { "${MAKE:-make}" -s install DESTDIR="$tmp/root" PREFIX=/usr BUILD="${BUILD:-build}" SAN="$SAN" KMOD=none; }
uninstalled() {
	"${MAKE:-make}" -s uninstall DESTDIR="$tmp/root" PREFIX=/usr BUILD="${BUILD:-build}" SAN="$SAN" KMOD=none &&
		! find "$tmp/root" ! -type d | grep .
}
units_start() {
	for program in $(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$tmp"/root/usr/lib/systemd/system/mooncake-*.service); do
		"$tmp/root/usr/bin/$program" --version || return
	done
}
pages() {
	for call in $(sed -n 's/^\t\(mc_[a-z0-9_]*\);$/\1.3/p' libmc/libmc.map) $(cd "$tmp/root/usr/bin" && ls | sed 's/$/.[18]/'); do
		ls "$tmp"/root/usr/share/man/man[138]/$call >/dev/null || return
	done
}
links() { ! find "$tmp/root" -xtype l | grep .; }
nothing_else() { ! find "$tmp/root" -mindepth 1 -maxdepth 2 ! -path "$tmp/root/usr*" | grep .; }
builds() {
	[ -z "$SAN" ] || return 0	# the program would need the sanitizer too
	printf '#include <mooncake/store.h>\n#include <stdio.h>\nint main(void) { return puts(mc_last_error()) < 0; }\n' >"$tmp/p.c"
	${CC:-cc} -I "$tmp/root/usr/include" -o "$tmp/p" "$tmp/p.c" -L "$tmp/root/usr/lib" -lmc &&
		LD_LIBRARY_PATH="$tmp/root/usr/lib" "$tmp/p"
}
by_pkg_config() { # by_pkg_config PACKAGE SOURCE: builds and runs where the system has it, and nothing else of ours is named
	[ -z "$SAN" ] || return 0
	printf '%s' "$2" >"$tmp/q.c"
	PKG_CONFIG_SYSROOT_DIR="$tmp/root" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 PKG_CONFIG_LIBDIR="$tmp/root/usr/lib/pkgconfig" \
		sh -c "${CC:-cc} -o '$tmp/q' '$tmp/q.c' \$(pkg-config --cflags --libs $1)" && LD_LIBRARY_PATH="$tmp/root/usr/lib" "$tmp/q"
}
upstreams_callers() {
	by_pkg_config transfer_engine '#include <transfer_engine_c.h>
int main(void) { transfer_engine_t e = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 0); destroyTransferEngine(e); return !e; }'
}
same_version() { [ "$(PKG_CONFIG_LIBDIR="$tmp/root/usr/lib/pkgconfig" pkg-config --modversion libmc)" = "$(sed -n 's/.*MC_VERSION "\(.*\)"/\1/p' libmc/include/mooncake/mooncake.h)" ]; }
contract() { printf '#include <linux/mooncake.h>\n' | ${CC:-cc} -I "$tmp/root/usr/include" -fsyntax-only -x c -; }

t 'install' installed
t 'every call and program has a page by its name' pages
t 'programs of the units start' units_start
t 'links lead somewhere' links
t 'everything lies below PREFIX' nothing_else
t 'a program is built with the headers and the library' builds
t 'pkg-config knows libmc' by_pkg_config libmc '#include <mooncake/engine.h>
int main(void) { return !mc_version(); }'
t 'and its version' same_version
t "pkg-config knows upstream's interface" upstreams_callers
t 'the kernel contract is there' contract
t 'uninstall leaves no file' uninstalled
echo "1..$nr"
exit $bad
