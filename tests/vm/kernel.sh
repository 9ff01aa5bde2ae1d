#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetch a stock Debian kernel and its headers, unpack them outside the tree (nothing is installed), print where.
#
#   tests/vm/kernel.sh 6.1 | 6.12 | RELEASE      e.g. 6.1.0-56-amd64
#
# The folder printed holds boot/vmlinuz-RELEASE, lib/modules/RELEASE and `headers`, to be used as KDIR.
set -eu

die() { echo "kernel.sh: $*" >&2; exit 1; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mooncake
arch=$(dpkg --print-architecture)

# The newest release the archive serves for a series: what its meta package depends on.
case $1 in
6.1) meta=linux-image-$arch ;;
6.[0-9] | 6.[0-9][0-9] | 7.*[0-9]) meta=linux-image-$1-$arch ;;
*) meta= ;;
esac
if [ -n "$meta" ]; then
	rel=$(apt-cache depends "$meta" 2>/dev/null | sed -n "s/^ *Depends: linux-image-//p" | head -1)
	if [ -z "$rel" ]; then	# off line: what an earlier run left
		for d in "$cache/$1".*/.complete; do [ -e "$d" ] && rel=$(basename "${d%/.complete}"); done
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
	common=$(apt-cache depends "linux-headers-$rel" | sed -n 's/^ *Depends: \(linux-headers-.*-common.*\)$/\1/p' | head -1)
	kbuild=$(apt-cache depends "linux-headers-$rel" | sed -n 's/^ *Depends: \(linux-kbuild-.*\)$/\1/p' | head -1)
	[ -n "$common" ] && [ -n "$kbuild" ] || die "no headers for $rel in the package archive"
	(cd "$dir/debs" && apt-get -qq -o APT::Sandbox::User=root download "linux-image-$rel" "linux-headers-$rel" "$common" "$kbuild" >&2) ||
		die "cannot download the packages of $rel"
	for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir"; done
	rm -r "$dir/debs"
	# The packaged makefiles name their place by absolute path; modules of newer kernels are compressed.
	hdr=$dir/usr/src/linux-headers-$rel
	sed -i "s|/usr/src/|$dir/usr/src/|" "$hdr/Makefile"
	ln -sfn "usr/src/linux-headers-$rel" "$dir/headers"
	[ -e "$hdr/scripts/mod/modpost" ] || die "no modpost below $hdr"
	touch "$dir/.complete"
fi
echo "$dir"
