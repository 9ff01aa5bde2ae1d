#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetch a stock Debian kernel and its headers, unpack them outside the tree (nothing is installed), print where.
#
#   tests/vm/kernel.sh 6.1 | 6.12 | newest | debug | RELEASE      e.g. 6.1.0-56-amd64
#
# The folder printed holds boot/vmlinuz-RELEASE, lib/modules/RELEASE and `headers`, to be used as KDIR. `newest` is what
# Debian's backports have; its folder also holds `root`, a small Debian with the compiler that kernel is made for, in
# which `headers` is to be used. `debug` is what debug.sh has built.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "kernel.sh: $*" >&2; exit 1; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mooncake
arch=$(dpkg --print-architecture)
mkdir -p "$cache"

fetch() { (cd "$1" && shift && apt-get -qq -o APT::Sandbox::User=root download "$@" >&2) || die "cannot download $*"; }

unpack() { for deb in "$1"/*.deb; do dpkg -x "$deb" "$2"; done; }

depends() { # depends PACKAGE PATTERN: its dependencies that match
	apt-cache depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p"
}

# A package manager that knows another release of Debian and nothing of this machine: no source is added here.
apart() {
	state=$cache/apt-$1
	mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial" "$state/etc/preferences.d"
	: >"$state/status"
	mirror=$("$here/mirror.sh" Debian) || return 1
	for suite in "$1" "$1-backports"; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$state/etc/sources.list"
	cat >"$state/etc/apt.conf" <<-EOT
		Dir "$state";
		Dir::State "$state/state";
		Dir::State::status "$state/status";
		Dir::Cache "$state/cache";
		Dir::Etc "$state/etc";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::parts "/dev/null";
		APT::Sandbox::User "root";
		APT::Default-Release "$1-backports";
		Acquire::Languages "none";
	EOT
	export APT_CONFIG="$state/etc/apt.conf"
	apt-get -qq -o APT::Update::Error-Mode=any update >&2
}

newest() {
	if ! apart trixie; then # off line: what an earlier run left
		[ -e "$cache/newest/.complete" ] && readlink -f "$cache/newest" && return
		die "cannot reach trixie-backports"
	fi
	rel=$(depends "linux-image-$arch/trixie-backports" "linux-image-[0-9].*" | sed 's/^linux-image-//' | head -n 1)
	[ -n "$rel" ] || die "trixie-backports has no linux-image-$arch"
	dir=$cache/$rel
	root=$dir/root
	if [ ! -e "$dir/.complete" ]; then
		rm -rf "$dir"
		mkdir -p "$dir/boot" "$dir/lib/modules" "$root"
		apt-get -qq clean
		# Headers with their compiler, and what a makefile calls.
		apt-get -qq -y --no-install-recommends --download-only install "linux-headers-$rel" make dash bash coreutils sed \
			grep findutils mawk perl-base binutils base-files >&2 || die "cannot download headers and compiler of $rel"
		# shellcheck disable=SC2046
		fetch "$state/cache/archives" "linux-image-$rel" $(depends "linux-image-$rel" "linux-.*-$rel")
		unpack "$state/cache/archives" "$root"
		apt-get -qq clean
		rm -f "$state"/cache/archives/*.deb
		ln -sf mawk "$root/usr/bin/awk"
		ln -s "../root/usr/lib/modules/$rel/vmlinuz" "$dir/boot/vmlinuz-$rel"
		ln -s "../../root/usr/lib/modules/$rel" "$dir/lib/modules/$rel"
		ln -s "root/usr/src/linux-headers-$rel" "$dir/headers"
		[ -e "$dir/boot/vmlinuz-$rel" ] && [ -e "$dir/headers/scripts/mod/modpost" ] || die "$rel is not laid out as expected"
		touch "$dir/.complete"
	fi
	ln -sfn "$rel" "$cache/newest"
	echo "$dir"
}

# The newest release the archive serves for a series: what its meta package depends on.
case $1 in
debug) exec "$here/debug.sh" --cached ;;
newest) newest; exit ;;
6.1) meta=linux-image-$arch ;;
6.[0-9] | 6.[0-9][0-9] | 7.*[0-9]) meta=linux-image-$1-$arch ;;
*) meta= ;;
esac
if [ -n "$meta" ]; then
	rel=$(depends "$meta" "linux-image-.*" 2>/dev/null | sed 's/^linux-image-//' | head -n 1)
	if [ -z "$rel" ] && [ "$(id -u)" = 0 ] && apt-get -qq update >&2; then	# a machine that never asked
		rel=$(depends "$meta" "linux-image-.*" 2>/dev/null | sed 's/^linux-image-//' | head -n 1)
	fi
	if [ -z "$rel" ]; then	# off line: what an earlier run left
		for d in "$cache/$1".*-"$arch"/.complete; do [ -e "$d" ] && rel=$(basename "${d%/.complete}"); done
	fi
	[ -n "$rel" ] || die "the package archive has no $meta (apt-get update?)"
	case $rel in "$1".*) ;; *) die "$meta is $rel here, not a $1 kernel" ;; esac
else
	rel=$1
fi

dir=$cache/$rel
if [ ! -e "$dir/.complete" ]; then
	rm -rf "$dir"
	mkdir -p "$dir/debs"
	common=$(depends "linux-headers-$rel" "linux-headers-.*-common.*" | head -n 1)
	kbuild=$(depends "linux-headers-$rel" "linux-kbuild-.*" | head -n 1)
	[ -n "$common" ] && [ -n "$kbuild" ] || die "no headers for $rel in the package archive"
	fetch "$dir/debs" "linux-image-$rel" "linux-headers-$rel" "$common" "$kbuild"
	unpack "$dir/debs" "$dir"
	rm -r "$dir/debs"
	# The packaged makefiles name their place by absolute path; modules of newer kernels are compressed.
	hdr=$dir/usr/src/linux-headers-$rel
	sed -i "s|/usr/src/|$dir/usr/src/|" "$hdr/Makefile"
	ln -sfn "usr/src/linux-headers-$rel" "$dir/headers"
	[ -e "$hdr/scripts/mod/modpost" ] || die "no modpost below $hdr"
	touch "$dir/.complete"
fi
echo "$dir"
