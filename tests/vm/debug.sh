#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build, once, the kernel that looks for mistakes: Debian's linux-source-6.1 with debug.config; print its folder.
#
#	tests/vm/debug.sh [--cached]
#
# Takes 15 to 30 minutes on two cores and 4 GB below the cache; the result (the key is in its release: package version and
# debug.config) is kept there and has the same shape as kernel.sh's. --cached: print the folder or fail, never build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "debug.sh: $*" >&2; exit 1; }

series=6.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mooncake
version=$(apt-cache policy "linux-source-$series" 2>/dev/null | sed -n 's/^ *Candidate: //p')
if [ -z "$version" ] || [ "$version" = '(none)' ]; then
	die "the package archive has no linux-source-$series (apt-get update?)"
fi
key=$(cat "$here/debug.config" | (cat; echo "$version") | sha256sum | cut -c1-8)
rel=${version%-*}-mcdebug-$key
dir=$cache/$rel
src=$dir/src

if [ ! -e "$dir/.complete" ]; then
	[ "${1:-}" != --cached ] || die "$rel is not built: make kernel-debug"
	"$here/../../tools/deps.sh" kernel >&2
	echo "debug.sh: building $rel in $dir; log: $dir/build.log" >&2
	rm -rf "$dir"
	mkdir -p "$dir/debs" "$dir/boot"
	(cd "$dir/debs" && apt-get -qq -o APT::Sandbox::User=root download "linux-source-$series=$version" >&2) ||
		die "cannot download linux-source-$series"
	dpkg-deb --fsys-tarfile "$dir"/debs/*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" | tar -xJ -C "$dir"
	rm -r "$dir/debs"
	mv "$dir/linux-source-$series" "$src"
	cd "$src"
	{
		make x86_64_defconfig kvm_guest.config
		echo "CONFIG_LOCALVERSION=\"-mcdebug-$key\"" | cat "$here/debug.config" - >"$dir/fragment"
		scripts/kconfig/merge_config.sh -m .config "$dir/fragment"
		make olddefconfig
		grep '=[ym]$' "$dir/fragment" | grep -vxFf .config >"$dir/unmet" || :
		sed -n 's/^# \(CONFIG_.*\) is not set$/\1=y/p' "$dir/fragment" | grep -xFf - .config >>"$dir/unmet" || :
		[ ! -s "$dir/unmet" ] || { echo 'not as debug.config says:'; cat "$dir/unmet"; }
		nice -n 19 make -j"$(nproc)" bzImage modules
		make INSTALL_MOD_PATH="$dir" modules_install
	} >"$dir/build.log" 2>&1 || { tail -n 20 "$dir/build.log" >&2; die 'the build failed'; }
	got=$(make -s kernelrelease)
	[ "$got" = "$rel" ] || die "built $got, not $rel"
	cp arch/x86/boot/bzImage "$dir/boot/vmlinuz-$rel"
	cp System.map "$dir/boot/System.map-$rel"
	# What modules are built against stays; objects do not.
	find . -name '*.[oa]' ! -path './scripts/*' ! -path './tools/*' -delete
	rm -f vmlinux
	ln -sfn src "$dir/headers"
	touch "$dir/.complete"
fi
echo "$dir"
