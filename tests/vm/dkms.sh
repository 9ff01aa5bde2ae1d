#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# DKMS on stock Debian kernels, from `make install-dkms` to `dkms remove`, in a mount namespace: nothing of this machine changes.
#
#   tests/vm/dkms.sh [-o FOLDER] [KERNEL...]	default 6.1 (kernel.sh); -o takes the modules that were installed
#
# Speaks TAP. Exit: 0 pass, 1 fail, 77 not possible here.
set -u
cd "$(dirname "$0")/../.." || exit 1
export PATH=$PATH:/sbin:/usr/sbin LC_ALL=C.UTF-8

skip() { echo "1..0 # SKIP $*"; exit 77; }
if [ -z "${MC_DKMS_OUT+set}" ]; then
	export MC_DKMS_OUT=''
	[ "${1:-}" = -o ] && { MC_DKMS_OUT=$(realpath -m "$2"); shift 2; }
	cc=${CC:-cc}	# may have a wrapper in front
	for tool in dkms depmod openssl modinfo make "${cc%% *}"; do
		command -v "$tool" >/dev/null || skip "$tool is missing"
	done
	for k in "${@:-6.1}"; do tests/vm/kernel.sh "$k" >/dev/null || skip "no kernel package for $k"; done
	unshare -rm true 2>/dev/null || skip 'no mount namespace'
	# In the namespace, what is written is written over there.
	export MC_DKMS_TMP
	MC_DKMS_TMP=$(mktemp -d) || exit 1
	map=-r
	[ "$(id -u)" = 0 ] && map=''
	unshare $map -m "$0" "$@"
	rc=$?
	rmdir "$MC_DKMS_TMP"
	exit $rc
fi

# ---- in the namespace: all that DKMS writes to is an overlay ----

tmp=$MC_DKMS_TMP
mount -t tmpfs -o mode=755 none "$tmp" || skip 'cannot mount'
for d in usr var etc; do
	mkdir -p "$tmp/$d/up" "$tmp/$d/work" &&
		mount -t overlay -o "lowerdir=/$d,upperdir=$tmp/$d/up,workdir=$tmp/$d/work" none "/$d" || skip "no overlay on /$d"
done
mkdir -p /usr/lib/modules
rm -rf /usr/lib/modules/* /usr/src/mooncake-* /var/lib/dkms/* /etc/dkms/framework.conf*
version=$(sed -n 's/^#define MC_VERSION "\(.*\)"/\1/p' libmc/include/mooncake/mooncake.h)
pkg=mooncake/$version
nr=0 bad=0

t() {
	local name=$1
	shift
	nr=$((nr + 1))
	if "$@" >"$tmp/log" 2>&1; then
		echo "ok $nr - $rel: $name"
	else
		echo "not ok $nr - $rel: $name"
		sed 's/^/# /' "$tmp/log"
		bad=1
	fi
}
kernel_tree() {	# kernel_tree RELEASE HEADERS [KERNEL]: what lies in /lib/modules for an installed kernel
	mkdir -p "/lib/modules/$1" && ln -s "$2" "/lib/modules/$1/build" || return
	[ -z "${3:-}" ] || { ln -s "$3/kernel" "/lib/modules/$1/kernel" && cp "$3"/modules.* "/lib/modules/$1"; }
}
# A kernel that comes with its compiler, in a root of its own (kernel.sh): what DKMS has made is made there.
own_compiler() {
	local root=$dir/root
	mkdir -p "$root/var/lib/dkms" "$tmp/bin" && mount --bind /var/lib/dkms "$root/var/lib/dkms" && mount --bind /dev "$root/dev" &&
		mount --bind /proc "$root/proc" || return
	cat >"$tmp/bin/make" <<-EOT
		#!/bin/sh
		case "\$*" in *M=/var/lib/dkms/*) exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin make "\$@" ;; esac
		exec $(command -v make) "\$@"
	EOT
	chmod +x "$tmp/bin/make" && PATH=$tmp/bin:$PATH
}
files() { (cd / && find /usr/src /lib/modules /var/lib/dkms -type f ! -name 'modules.*' | sort); }
installed() { find "/lib/modules/$rel/updates/dkms" -name 'mooncake*.ko*' | grep .; }
# Every module is there, was built for this kernel, and modprobe finds it.
right_kernel() {
	local m name
	for m in $(installed); do
		name=$(basename "$m" | sed 's/\.ko.*//')
		[ "$(modinfo -F vermagic "$m" | cut -d ' ' -f 1)" = "$rel" ] || return
		modprobe -S "$rel" --show-depends "$name" || return
	done
	[ "$(installed | wc -l)" = "$(grep -c '^[[:space:]]*BUILT_MODULE_NAME' dkms.conf)" ] && ! installed | grep test
}
signed() {	# signed SIGNER
	local m
	installed || return
	for m in $(installed); do
		modinfo "$m" | grep -E '^(sig|signer)'
		[ "$(modinfo -F signer "$m")" = "$1" ] && [ "$(modinfo -F sig_id "$m")" = PKCS#7 ] || return
	done
}
own_key() {
	openssl req -new -x509 -nodes -days 2 -newkey rsa:2048 -subj '/CN=mooncake test' -keyout "$tmp/key" -outform DER -out "$tmp/cert" &&
		printf 'mok_signing_key=%s\nmok_certificate=%s\nsign_file=%s\n' "$tmp/key" "$tmp/cert" "$dir/headers/scripts/sign-file" \
			>/etc/dkms/framework.conf
}
no_trace() {
	files >"$tmp/after" && diff "$tmp/before" "$tmp/after" && ! grep -r mooncake "/lib/modules/$rel/modules.dep" &&
		[ ! -e /var/lib/dkms/mooncake ]
}
status() { dkms status "$pkg" | grep -q "$1"; }
# A kernel it does not compile for: the build fails and says where to look, nothing is installed, the rest works on.
breaks() {
	local rc
	cp "/usr/src/mooncake-$version/main.c" "$tmp/main.c"
	echo '#error a kernel nobody has seen yet' >>"/usr/src/mooncake-$version/main.c"
	dkms add "$pkg" && dkms install "$pkg" -k "$rel" >"$tmp/out" 2>&1
	rc=$?
	cat "$tmp/out"
	cp "$tmp/main.c" "/usr/src/mooncake-$version/main.c"
	[ $rc != 0 ] && grep -q "/var/lib/dkms/$pkg/build/make.log" "$tmp/out" && ! installed &&
		grep 'nobody has seen yet' "/var/lib/dkms/$pkg/build/make.log" && dkms remove "$pkg" --all
}
# A kernel too old, or one without shared memory: not tried.
refuses() {	# refuses RELEASE HEADERS
	local rc
	kernel_tree "$1" "$2" && dkms add "$pkg"
	dkms build "$pkg" -k "$1" >"$tmp/out" 2>&1
	rc=$?
	cat "$tmp/out"
	dkms remove "$pkg" --all && rm -r "/lib/modules/$1" && [ $rc != 0 ] && grep -q BUILD_EXCLUSIVE "$tmp/out"
}
without_shmem() {
	mkdir -p "$tmp/headers/include" && cp -rs "$dir"/headers/[a-z]* "$tmp/headers" 2>/dev/null
	sed 's/^CONFIG_SHMEM=y/# CONFIG_SHMEM is not set/' "$dir/headers/.config" >"$tmp/headers/.config"
	refuses "$rel-tiny" "$tmp/headers"
}

one() {
	dir=$(tests/vm/kernel.sh "$1") && rel=$(basename "$dir") || return 1
	kernel_tree "$rel" "$dir/headers" "$dir/lib/modules/$rel"
	path=$PATH
	[ ! -d "$dir/root" ] || own_compiler || return
	t 'source' make -s install-dkms DESTDIR=
	files >"$tmp/before"
	t 'a key' own_key
	t 'add' dkms add "$pkg"
	t 'build' dkms build "$pkg" -k "$rel"
	t 'install' dkms install "$pkg" -k "$rel"
	t 'status says installed' status "$rel.*: installed"
	t 'modules are for this kernel' right_kernel
	t 'signed with the key that was configured' signed 'mooncake test'
	if [ -n "$MC_DKMS_OUT" ]; then mkdir -p "$MC_DKMS_OUT" && cp "/lib/modules/$rel/updates/dkms"/* "$MC_DKMS_OUT"; fi
	t 'remove' dkms remove "$pkg" --all
	t 'no file is left' no_trace
	t 'an install for a new kernel, by itself' eval 'dkms add "$pkg" && dkms autoinstall -k "$rel" && status installed'
	t 'remove' dkms remove "$pkg" --all
	t 'a build that fails says where to look' breaks
	t 'too old a kernel is not tried' refuses 5.10.0-9-amd64 "$dir/headers"
	t 'a kernel without what it needs is not tried' without_shmem
	t 'no file is left' no_trace
	rm -rf "/usr/src/mooncake-$version"
	PATH=$path
}

for k in "${@:-6.1}"; do one "$k" || bad=1; done
echo "1..$nr"
exit $bad
