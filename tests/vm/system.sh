#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` installed, under a real systemd: a guest whose process 1 it is, on a small Debian of its own.
#
#   tests/vm/system.sh [-d] [-s SUITE] [KERNEL...]	default bookworm (root.sh) and 6.1 (kernel.sh); -d: the module comes from DKMS
#
# MC_VM_OUT (build/vm-system) takes logs, MC_VM_LIMIT (600) is the limit of one guest in seconds, BUILD (build) what is
# installed, MC_VM_SECTIONS the files of tests/vm/system to run (all). Speaks TAP. Exit: 0 pass, 1 fail, 77 no guest possible
# here.
set -u
cd "$(dirname "$0")/../.." || exit 1
export PATH=$PATH:/sbin:/usr/sbin

out=${MC_VM_OUT:-build/vm-system}
limit=${MC_VM_LIMIT:-600}
sections=${MC_VM_SECTIONS:-installed running restart keep sockets stop module}
suite=bookworm
dkms=''
[ "${1:-}" = -d ] && { dkms=-dkms; shift; }
[ "${1:-}" = -s ] && { suite=$2; shift 2; }

skip() { echo "1..0 # SKIP $*"; exit 77; }
cc=${CC:-cc}	# may have a wrapper in front
for tool in qemu-system-x86_64 cpio depmod apt-get dpkg busybox "${cc%% *}"; do
	command -v "$tool" >/dev/null || skip "$tool is missing"
done
# The guest's files have to be root's.
as_root=''
if [ "$(id -u)" != 0 ]; then
	as_root='unshare -r'
	unshare -r true 2>/dev/null || skip 'neither root nor able to be root of a namespace'
fi

alarm='WARNING:|BUG:|BUG |Oops|general protection|possible circular|blocked for more than|soft lockup|detected stalls'
alarm="$alarm|Bad page|refcount_t|Call Trace|Kernel panic|sysfs: cannot create duplicate"

accel=tcg,thread=multi
if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then accel=kvm; fi

stage() {	# what is installed by a person: kernel $1 in $2, into $3/stage, for root $4
	local s=$3/stage
	rm -rf "$3"
	mkdir -p "$s/usr/lib" "$s/opt/test" \
		"$s/etc/systemd/system/multi-user.target.wants" || return
	ln -s usr/lib "$s/lib"
	if [ -n "$dkms" ]; then
		tests/vm/dkms.sh -o "$s/usr/lib/modules/$1/updates/dkms" "$1" || return
	else
		cp -r kmod "$3/kmod" && make -s -C "$3/kmod" KDIR="$2/headers" modules >"$3/kmod.log" 2>&1 || { cat "$3/kmod.log"; return 1; }
	fi
	make -s install PREFIX=/usr DESTDIR="$(realpath "$s")" KMOD="$(realpath -m "$3/kmod")" KDIR="$2/headers" >"$3/install.log" 2>&1 ||
		{ cat "$3/install.log"; return 1; }
	# depmod has to see the kernel's modules and ours as one.
	mkdir -p "$3/all/lib/modules/$1"
	cp -r "$2/lib/modules/$1"/modules.* "$s/usr/lib/modules/$1"/* "$3/all/lib/modules/$1"
	ln -s "$2/lib/modules/$1/kernel" "$3/all/lib/modules/$1/kernel"
	depmod -b "$3/all" "$1" && cp "$3/all/lib/modules/$1"/modules.* "$s/usr/lib/modules/$1" || return
	rm -rf "$3/all"
	# shellcheck disable=SC2086
	$cc -O1 -Wall -Werror -I "$s/usr/include" -o "$s/opt/test/objects" tests/vm/system/objects.c -L "$s/usr/lib" -lmc || return
	# Libraries that are not in the root, or have another version there.
	for lib in $(ldd "$s"/usr/bin/mooncake* | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u); do
		[ -e "$4/usr/lib/$(basename "$(dirname "$lib")")/$(basename "$lib")" ] || cp -L "$lib" "$s/usr/lib"
	done
	cp tests/vm/system/*.sh "$s/opt/test" || return
	sed "s/@SECTIONS@/$sections/; s/@LIMIT@/$((limit - 20))/" tests/vm/system/test.service >"$s/etc/systemd/system/test.service"
	# As after `systemctl enable`; the node needs to be smaller than its default here.
	for unit in test mooncake-master mooncake-metadata mooncake-node; do
		ln -s "$unit.service" "$s/etc/systemd/system/multi-user.target.wants/$unit.service" || return
	done
	mkdir -p "$s/etc/default" "$s/etc/sysusers.d"
	echo "MOONCAKE_NODE_FLAGS='--global_segment_size=64mb --enable_http_server'" >"$s/etc/default/mooncake-node"
	echo 0123456789abcdef0123456789abcdef >"$s/etc/machine-id"	# not its first boot
	# alice and bob may use the cache, eve may not.
	printf 'u alice 2001\nu bob 2002\nu eve 2003\nm alice mooncake\nm bob mooncake\n' >"$s/etc/sysusers.d/people.conf"
}

initramfs() {	# kernel $1 in $2, into $3: busybox, the modules the root needs, our init
	local fs=$3/initramfs file n=0
	mkdir -p "$fs/bin" "$fs/modules"
	cp "$(command -v busybox)" "$fs/bin/busybox"
	ln -s busybox "$fs/bin/sh"
	cp tests/vm/system/init "$fs/init"
	[ -e "$2/lib/modules/$1/modules.dep" ] || depmod -b "$2" "$1" 2>/dev/null
	for file in $(modprobe -d "$2" -S "$1" -a --show-depends virtio_pci 9pnet_virtio 9p overlay |
			sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'); do
		n=$((n + 1))
		case $file in
		*.xz) xz -dc "$file" >"$fs/modules/$n.ko" ;;
		*) cp "$file" "$fs/modules/$n.ko" ;;
		esac || return
		echo $n.ko >>"$fs/modules/order"
	done
	(cd "$fs" && find . | cpio -o -H newc --quiet) >"$3/initramfs.cpio"
	rm -rf "$fs"
}

share() { echo "-virtfs local,path=$2,mount_tag=$1,security_model=none,readonly=on,multidevs=remap"; }

# What is of no use here and takes time.
masked=''
for unit in systemd-hwdb-update ldconfig systemd-journal-catalog-update systemd-update-done systemd-firstboot systemd-update-utmp \
	systemd-pstore systemd-binfmt systemd-random-seed systemd-journal-flush; do
	masked="$masked systemd.mask=$unit.service"
done
masked="$masked systemd.mask=getty.target systemd.mask=dev-hugepages.mount systemd.mask=sys-kernel-config.mount"

boot() {	# kernel $1 in $2, logs into $3, root $4
	# shellcheck disable=SC2046
	timeout -k 5 "$limit" $as_root qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m 1536 \
		-kernel "$2/boot/vmlinuz-$1" -initrd "$3/initramfs.cpio" \
		-append "console=ttyS0 rdinit=/init panic=-1 loglevel=5 net.ifnames=0 systemd.show_status=0 $masked" \
		$(share base "$4") $(share stage "$(realpath "$3/stage")") $(share kmods "$2/lib/modules/$1") \
		-display none -no-reboot -nic none -monitor none \
		-serial "file:$3/kernel.log" -serial "file:$3/tap.log" </dev/null 2>"$3/qemu.log"
}

one() {
	local dir rel work start rc passed failed warned root
	dir=$(tests/vm/kernel.sh "$1") || skip "no kernel package for $1"
	root=$(tests/vm/root.sh "$suite") || skip "no packages of $suite"
	rel=$(basename "$dir")
	work=$out/$suite-$rel$dkms
	stage "$rel" "$dir" "$work" "$root" || { echo "not ok - $rel: build and install"; return 1; }
	initramfs "$rel" "$dir" "$work" || { echo "not ok - $rel: initramfs"; return 1; }
	start=$SECONDS
	boot "$rel" "$dir" "$work" "$root"
	rc=$?
	[ -e "$work/tap.log" ] || { cat "$work/qemu.log"; skip "qemu does not start"; }
	tr -d '\r' <"$work/tap.log" >"$work/tap" && tr -d '\r' <"$work/kernel.log" >"$work/log"
	cat "$work/tap"
	passed=$(grep -c '^ok ' "$work/tap")
	failed=$(grep -c '^not ok ' "$work/tap")
	warned=$(grep -cE "$alarm" "$work/log")
	grep -E -A 25 "$alarm" "$work/log" | head -60
	if ! grep -q '^1\.\.' "$work/tap"; then
		echo "not ok - $rel: the guest did not finish (qemu: $rc); its last lines:"
		tail -n 12 "$work/log" | sed 's/^/# /'
		failed=$((failed + 1))
	fi
	echo "# system $suite $rel$dkms: $passed passed, $failed failed, $warned warnings, $((SECONDS - start)) s ($accel)"
	[ "$failed" = 0 ] && [ "$warned" = 0 ] && [ "$passed" -gt 0 ]
}

bad=0
for k in "${@:-6.1}"; do one "$k" || bad=1; done
exit $bad
