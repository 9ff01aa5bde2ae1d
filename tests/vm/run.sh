#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Boot Debian kernels under QEMU, load the module, run the kernel tests, power off.
#
#   tests/vm/run.sh [KERNEL...]        default 6.1; see kernel.sh for what a KERNEL is
#
# MC_VM_OUT (build/vm) takes logs, MC_VM_LIMIT is the wall-clock limit of one guest in seconds (600; with all its checks
# the debug kernel takes five times as long), MC_VM_MEM its memory in MiB (1536; debug 2048), MC_VM_TESTS patterns of the
# programs to run (test_*), MC_VM_DO what to do in the guest: tests (default), fuzz or bench, with MC_VM_ARGS handed to
# it. Exit: 0 pass, 1 fail, 77 no guest possible here.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL	# of the make that runs this

out=${MC_VM_OUT:-build/vm}
tests=${MC_VM_TESTS:-test_*}
what=${MC_VM_DO:-tests}

skip() { echo "check-vm: skipped: $*"; exit 77; }
why=$(tools/deps.sh vm 2>&1) || skip "$why"
[ -z "$why" ] || echo "check-vm: $why"
for tool in qemu-system-x86_64 cpio depmod apt-get dpkg gcc; do
	PATH=$PATH:/sbin:/usr/sbin command -v $tool >/dev/null || skip "$tool is missing"
done
busybox=$(command -v busybox) || skip "busybox is missing (busybox-static)"
export PATH=$PATH:/sbin:/usr/sbin

# Anything in the kernel's log that a sound module never causes.
alarm='WARNING:|BUG:|BUG |Oops|KASAN|KCSAN|UBSAN|general protection|possible circular|inconsistent lock|suspicious RCU'
alarm="$alarm|blocked for more than|soft lockup|self-detected stall|detected stalls|Bad page|bad page|refcount_t|Call Trace"
alarm="$alarm|unreferenced object|Kernel panic|Unable to handle|sysfs: cannot create duplicate|suspected memory leaks"

accel=tcg,thread=multi	# emulation: two threads, so that races are real
if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then accel=kvm; fi

modules() {	# in folder $2, for the kernel in $1; with the compiler that came with its headers, if one did
	if [ ! -d "$1/root" ]; then
		make -s -C "$2" KDIR="$1/headers" MC_TEST=m modules
		return
	fi
	[ "$(id -u)" = 0 ] || { echo "only root may build for $1: it takes a chroot"; return 1; }
	mkdir -p "$1/root/src"
	# shellcheck disable=SC2016
	root=$1/root src=$(realpath "$2") kdir=/$(readlink "$1/headers" | sed 's|^root/||') unshare -m sh -c '
		mount --bind /dev "$root/dev" && mount --bind /proc "$root/proc" && mount --bind "$src" "$root/src" && exec chroot "$root" \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin /usr/bin/make -s -C /src KDIR="$kdir" MC_TEST=m modules'
}

wanted() {	# does program $1 match one of the patterns?
	local p
	set -f
	for p in $tests; do	# shellcheck disable=SC2254
		case $1 in $p) set +f; return 0 ;; esac
	done
	set +f
	return 1
}

build() {	# module and tests for kernel $1 in $2, into $3
	rm -rf "$3"
	mkdir -p "$3/payload" "$3/kmod" || return
	cp -r kmod/. "$3/kmod" && modules "$2" "$3/kmod" >"$3/kmod.log" 2>&1 || { cat "$3/kmod.log"; return 1; }
	if grep -q 'warning:' "$3/kmod.log"; then cat "$3/kmod.log"; return 1; fi
	cp "$3"/kmod/*.ko "$3/payload" || return
	make -s -C tests/kselftest OUTPUT="$(realpath "$out")/kselftest" || return
	cp "$out"/kselftest/* tests/vm/test_* "$3/payload" || return
	for t in "$3"/payload/test_*; do
		wanted "$(basename "$t")" || rm "$t"
	done
	cp tests/vm/guest.sh "$3/payload"
	# For guest.sh: where this kernel's own modules are, as seen through the host's root; what to do.
	printf '%s\n' "BUILD=$(realpath "${BUILD:-build}")" "modules=$2" "what=$what" "args='${MC_VM_ARGS:-}'" >"$3/payload/env"
}

initramfs() {	# kernel $1 in $2, into $3: busybox, the modules the root needs, our init, the payload
	local fs=$3/initramfs file n=0
	mkdir -p "$fs/bin" "$fs/modules" "$fs/sbin"
	cp "$busybox" "$fs/bin/busybox"
	ln -s busybox "$fs/bin/sh"
	# Whom the kernel asks for modules.
	printf '#!/bin/sh\nexec /bin/busybox chroot /root /sbin/modprobe -d %s "$@"\n' "$2" >"$fs/sbin/modprobe"
	chmod +x "$fs/sbin/modprobe"
	cp tests/vm/init "$fs/init"
	cp -r "$3/payload" "$fs/payload"
	[ -e "$2/lib/modules/$1/modules.dep" ] || depmod -b "$2" "$1" 2>/dev/null
	: >"$fs/modules/order"
	for file in $(modprobe -d "$2" -S "$1" -a --show-depends virtio_pci 9pnet_virtio 9p overlay |
			sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'); do
		n=$((n + 1))
		case $file in
		*.xz) xz -dc "$file" >"$fs/modules/$n.ko" ;;
		*.zst) zstd -qdc "$file" >"$fs/modules/$n.ko" ;;
		*) cp "$file" "$fs/modules/$n.ko" ;;
		esac || return
		echo $n.ko >>"$fs/modules/order"
	done
	(cd "$fs" && find . | cpio -o -H newc --quiet) >"$3/initramfs.cpio"
	rm -rf "$fs"
}

# Where test_alloc has a new process's stack fail, the kernel says so at length. That, and no other complaint, is left out.
without_forks() {
	awk '/ vmalloc error: .* failed/ { held = ""; holding = 1 }
		!holding { print; next }
		{ held = held $0 "\n" }
		/Mem-Info:/ { if (held !~ /copy_process\+/) printf "%s", held; holding = 0 }
		END { if (holding) printf "%s", held }'
}

boot() {	# kernel $1 in $2, logs into $3
	timeout -k 5 "$limit" qemu-system-x86_64 -accel "$accel" -cpu max -smp 2,sockets=2,cores=1 -m "$mem" \
		-object memory-backend-ram,id=m0,size=$((mem / 2))M -object memory-backend-ram,id=m1,size=$((mem / 2))M \
		-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1 \
		-kernel "$2/boot/vmlinuz-$1" -initrd "$3/initramfs.cpio" \
		-append "console=ttyS0 rdinit=/init panic=-1 loglevel=7 no_timer_check ${MC_VM_APPEND:-}" \
		-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-display none -no-reboot -nic none -monitor none \
		-serial "file:$3/kernel.log" -serial "file:$3/tap.log" </dev/null 2>"$3/qemu.log"
}

one() {
	local dir rel work f start rc passed skipped failed warned limit=${MC_VM_LIMIT:-600} mem=${MC_VM_MEM:-1536}
	dir=$(tests/vm/kernel.sh "$1") || skip "no kernel package for $1"
	rel=$(basename "$dir")
	case $rel in *-mcdebug-*) limit=${MC_VM_LIMIT:-3000} mem=${MC_VM_MEM:-2048} ;; esac
	work=$out/$rel
	build "$rel" "$dir" "$work" || { echo "check-vm $rel: build failed"; return 1; }
	initramfs "$rel" "$dir" "$work" || { echo "check-vm $rel: no initramfs"; return 1; }
	start=$SECONDS
	boot "$rel" "$dir" "$work"
	rc=$?
	[ -e "$work/tap.log" ] || { cat "$work/qemu.log"; skip "qemu does not start"; }
	tr -d '\r' <"$work/tap.log" >"$work/tap" && tr -d '\r' <"$work/kernel.log" | without_forks >"$work/log"
	skipped=$(grep -c '^ok .*# SKIP' "$work/tap")
	passed=$(($(grep -c '^ok ' "$work/tap") - skipped))
	failed=$(grep -c '^not ok ' "$work/tap")
	warned=$(grep -cE "$alarm" "$work/log")
	grep '^{' "$work/tap"
	grep -B 12 '^not ok ' "$work/tap"
	grep -E -A 25 "$alarm" "$work/log" | head -60
	if [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
		echo "not ok - the guest ran past $limit s; its last lines:"
		for f in tap log; do tail -n 8 "$work/$f"; done
		failed=$((failed + 1))
	elif ! grep -q '^# guest: exit [0-9]*$' "$work/tap"; then
		echo "not ok - the guest did not finish; its last lines:"
		for f in tap log; do tail -n 8 "$work/$f"; done
		failed=$((failed + 1))
	fi
	echo "check-vm $rel: $passed passed, $skipped skipped, $failed failed, $warned warnings, $((SECONDS - start)) s ($accel)"
	grep -q '^# guest: exit 0$' "$work/tap" && [ "$failed" = 0 ] && [ "$warned" = 0 ] && [ "$passed" -gt 0 ]
}

bad=0
for k in "${@:-6.1}"; do one "$k" || bad=1; done
exit $bad
