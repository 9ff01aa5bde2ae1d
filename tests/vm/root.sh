#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpack a small Debian with systemd in a folder outside the tree, to be the root of a guest; print where.
#
#   tests/vm/root.sh [bookworm | trixie]
#
# Nothing is installed and nothing of a package is run, so this needs no rights.
set -eu

die() { echo "root.sh: $*" >&2; exit 1; }

suite=${1:-bookworm}
here=$(cd "$(dirname "$0")" && pwd)
mirror=$("$here/mirror.sh" Debian) security=$("$here/mirror.sh" Debian-Security)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mooncake
arch=$(dpkg --print-architecture)
base='base-files base-passwd bash coreutils dash findutils grep gzip libc-bin mawk mount procps sed tar util-linux'
ours='systemd udev kmod iproute2 libjson-c5 libnl-genl-3-200'	# and what mooncake's programs are linked with
case $suite in
bookworm) ours="$ours libcurl4 libmicrohttpd12" ;;
trixie) ours="$ours libcurl4t64 libmicrohttpd12t64" ;;
*) die "$suite is not known here" ;;
esac

# A folder of its own for each list of packages: a changed list is a changed root.
dir=$cache/root-$suite-$(echo "$base $ours" | cksum | cut -d ' ' -f 1)
[ ! -e "$dir/.complete" ] || { echo "$dir"; exit 0; }
rm -rf "$dir" "$dir.apt"
mkdir -p "$dir" "$dir.apt/lists/partial" "$dir.apt/archives/partial"
trap 'rm -rf "$dir.apt"' EXIT
apt=$dir.apt
: >"$apt/status"
for s in "$mirror $suite" "$mirror $suite-updates" "$security $suite-security"; do
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $s main"
done >"$apt/sources.list"

# As if nothing were installed: apt finds all that belongs to it.
own_apt() {
	apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$apt/lists" \
		-o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" \
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Debug::NoLocking=1 -o APT::Architecture="$arch" "$@" >&2
}
own_apt update || die "no package lists of $suite from $mirror"
# shellcheck disable=SC2086
own_apt -y --no-install-recommends --download-only install $base $ours || die "cannot download the packages of $suite"

# Everything lies below /usr since bookworm; packages of that time still name the old places.
for d in bin sbin lib lib32 lib64 libx32; do
	mkdir -p "$dir/usr/$d"
	ln -s "usr/$d" "$dir/$d"
done
for deb in "$apt"/archives/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$dir" -x --keep-directory-symlink --no-same-owner || die "cannot unpack $deb"
done
rm -rf "$dir"/usr/share/doc "$dir"/usr/share/man "$dir"/usr/share/locale "$dir"/usr/share/info

# What maintainer scripts would have done.
cp "$dir/usr/share/base-passwd/passwd.master" "$dir/etc/passwd"
cp "$dir/usr/share/base-passwd/group.master" "$dir/etc/group"
sed -i 's/^root:[^:]*:/root::/' "$dir/etc/passwd"
ln -sf mawk "$dir/usr/bin/awk"
ln -sf /proc/mounts "$dir/etc/mtab"
echo guest >"$dir/etc/hostname"
echo '127.0.0.1 localhost guest' >"$dir/etc/hosts"
mkdir -p "$dir/proc" "$dir/sys" "$dir/dev" "$dir/run" "$dir/tmp"
touch "$dir/.complete"
echo "$dir"
